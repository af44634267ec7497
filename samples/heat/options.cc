#include "samples/heat/options.h"

#include <getopt.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace heat {
namespace {

constexpr char kHelp[] =
    "Usage: heat [OPTION]...\n\n"
    "Solves the heat equation on a square plate with threads, checkpointing itself.\n\n"
    "  --size N              points per edge (default 512)\n"
    "  --steps N             time steps (default 2000)\n"
    "  --threads N           worker threads (default 4)\n"
    "  --report-every N      print the residual every N steps (default 100)\n"
    "  --checkpoint-every N  take a checkpoint every N steps (default: only when a tool asks)\n"
    "  --dir DIR             checkpoint directory (default ckpt)\n"
    "  --picture FILE        write the final field as a PNG\n"
    "  --help                print this\n";

constexpr option kLongOptions[] = {
    {"size", required_argument, nullptr, 's'},
    {"steps", required_argument, nullptr, 'n'},
    {"threads", required_argument, nullptr, 't'},
    {"report-every", required_argument, nullptr, 'r'},
    {"dir", required_argument, nullptr, 'd'},
    {"checkpoint-every", required_argument, nullptr, 'c'},
    {"picture", required_argument, nullptr, 'p'},
    {"help", no_argument, nullptr, 'h'},
    {nullptr, 0, nullptr, 0},
};

bool parse_number(const char* name, const char* text, int low, int high, int& value) {
  char* end = nullptr;
  errno = 0;
  const long parsed = std::strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || parsed < low || parsed > high) {
    std::fprintf(stderr, "heat: --%s %s: not a number from %d to %d\n", name, text, low, high);
    return false;
  }
  value = static_cast<int>(parsed);
  return true;
}

bool parse_one(int letter, Options& options) {
  switch (letter) {
    case 's':
      return parse_number("size", optarg, 3, 20000, options.size);
    case 'n':
      return parse_number("steps", optarg, 1, 100000000, options.steps);
    case 't':
      return parse_number("threads", optarg, 1, 1024, options.threads);
    case 'r':
      return parse_number("report-every", optarg, 1, 100000000, options.report_every);
    case 'c':
      return parse_number("checkpoint-every", optarg, 0, 100000000, options.checkpoint_every);
    case 'd':
      options.directory = optarg;
      return true;
    case 'p':
      options.picture = optarg;
      return true;
    default:
      return false;  // getopt_long has said what is wrong
  }
}

}  // namespace

bool parse_options(int argc, char** argv, Options& options, int& exit_code) {
  exit_code = 2;
  for (int letter; (letter = ::getopt_long(argc, argv, "", kLongOptions, nullptr)) != -1;) {
    if (letter == 'h') {
      std::fputs(kHelp, stdout);
      exit_code = 0;
      return false;
    }
    if (!parse_one(letter, options)) return false;
  }
  if (optind < argc) {
    std::fprintf(stderr, "heat: unexpected argument %s\n", argv[optind]);
    return false;
  }
  return true;
}

}  // namespace heat
