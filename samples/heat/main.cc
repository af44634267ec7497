// A 2-D heat equation that checkpoints itself while its threads compute: killed at any moment and restarted, it ends
// with the same bits as if nothing had happened.
#include <stillpoint/checkpointer.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <string>

#include "samples/heat/field.h"
#include "samples/heat/options.h"
#include "samples/heat/picture.h"
#include "samples/heat/solver.h"

namespace {

// A checkpoint that fails is no reason to stop computing.
void report_failure(const stillpoint::Status& status) {
  std::fprintf(stderr, "heat: checkpoint failed: %s\n", status.message().c_str());
  for (const stillpoint::Finding& finding : stillpoint::findings(status)) {
    std::fprintf(stderr, "heat:   %s %s: %s; remedy: %s\n", finding.code.c_str(), finding.object.c_str(),
                 finding.reason.c_str(), finding.remedy.c_str());
  }
}

void take_checkpoint(stillpoint::Checkpointer& checkpointer, int step) {
  const stillpoint::Result<stillpoint::CheckpointResult> result = checkpointer.checkpoint();
  if (!result.ok()) return report_failure(result.status());
  if (result->outcome == stillpoint::Outcome::kRestored) {
    std::fprintf(stderr, "heat: a new life begins after step %d\n", step);
  } else if (result->outcome == stillpoint::Outcome::kResumed) {
    std::fprintf(stderr, "heat: %s, pause %.1f ms\n", result->image_path.c_str(),
                 static_cast<double>(result->statistics.pause.count()) / 1e6);
  }
}

// The next step after `step` at which something is to be done.
int next_stop(int step, const heat::Options& options) {
  int next = std::min(options.steps, (step / options.report_every + 1) * options.report_every);
  if (options.checkpoint_every > 0) {
    next = std::min(next, (step / options.checkpoint_every + 1) * options.checkpoint_every);
  }
  return next;
}

// The workers compute on, whatever this thread does: reports, checkpoints.
void follow(heat::Solver& solver, const heat::Options& options, stillpoint::Checkpointer& checkpointer) {
  for (int step = 0; step < options.steps;) {
    step = next_stop(step, options);
    const double residual = solver.wait_for_step(step);
    if (step % options.report_every == 0 || step == options.steps) {
      std::printf("step %d residual %.17g\n", step, residual);
      std::fflush(stdout);  // a kill loses nothing that was printed
    }
    if (options.checkpoint_every > 0 && step % options.checkpoint_every == 0 && step < options.steps) {
      take_checkpoint(checkpointer, step);
    } else if (const auto polled = checkpointer.poll(); !polled.ok()) {
      report_failure(polled.status());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  heat::Options options;
  int exit_code = 0;
  if (!heat::parse_options(argc, argv, options, exit_code)) return exit_code;

  stillpoint::CheckpointerOptions checkpointing;
  checkpointing.directory = options.directory;
  checkpointing.keep_last = 3;
  stillpoint::Checkpointer checkpointer(checkpointing);

  heat::Field field(static_cast<std::size_t>(options.size));
  {
    heat::Solver solver(field, options.steps, options.threads);
    follow(solver, options, checkpointer);
  }
  std::printf("checksum %016" PRIx64 "\n", field.checksum());
  std::fflush(stdout);
  if (options.picture.empty()) return 0;
  const std::string error = heat::write_picture(field, options.picture);
  if (!error.empty()) std::fprintf(stderr, "heat: cannot write the picture: %s\n", error.c_str());
  return error.empty() ? 0 : 1;
}
