// The worker threads: they compute step after step, in step, and know nothing of checkpoints.
#ifndef STILLPOINT_SAMPLES_HEAT_SOLVER_H_
#define STILLPOINT_SAMPLES_HEAT_SOLVER_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "samples/heat/field.h"

namespace heat {

class Solver {
 public:
  Solver(Field& field, int steps, int threads);
  Solver(const Solver&) = delete;
  Solver& operator=(const Solver&) = delete;
  ~Solver();  // waits for the last step

  // Waits until `step` steps are done; returns the largest change of that step.
  double wait_for_step(int step);

 private:
  void work(int worker);
  void finish_step() noexcept;  // by the last worker to arrive, while the others wait

  // std::barrier with finish_step as its completion.
  struct Barrier;

  Field& field_;
  const int steps_;
  const int threads_;
  std::vector<double> largest_change_;  // of the step being computed, one per worker
  std::vector<double> residuals_;       // of each finished step
  std::mutex mutex_;
  std::condition_variable step_finished_;
  int finished_ = 0;
  std::unique_ptr<Barrier> barrier_;
  std::vector<std::thread> workers_;
};

}  // namespace heat

#endif  // STILLPOINT_SAMPLES_HEAT_SOLVER_H_
