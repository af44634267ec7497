#ifndef STILLPOINT_SAMPLES_HEAT_OPTIONS_H_
#define STILLPOINT_SAMPLES_HEAT_OPTIONS_H_

#include <string>

namespace heat {

struct Options {
  int size = 512;
  int steps = 2000;
  int threads = 4;
  int report_every = 100;    // steps
  int checkpoint_every = 0;  // steps; 0: only when a tool asks
  std::string directory = "ckpt";
  std::string picture;  // empty: none
};

// False when the program is to end with `exit_code`: --help, or a mistake that has been explained on stderr.
bool parse_options(int argc, char** argv, Options& options, int& exit_code);

}  // namespace heat

#endif  // STILLPOINT_SAMPLES_HEAT_OPTIONS_H_
