#include "samples/heat/solver.h"

#include <algorithm>
#include <barrier>

namespace heat {

struct FinishStep {
  void (*call)(void* solver) noexcept;
  void* solver;
  void operator()() noexcept { call(solver); }
};

struct Solver::Barrier {
  Barrier(int threads, FinishStep finish) : arrived(threads, finish) {}
  std::barrier<FinishStep> arrived;
};

Solver::Solver(Field& field, int steps, int threads)
    : field_(field),
      steps_(steps),
      threads_(threads),
      largest_change_(static_cast<std::size_t>(threads)),
      residuals_(static_cast<std::size_t>(steps) + 1),
      barrier_(
          new Barrier(threads, {[](void* solver) noexcept { static_cast<Solver*>(solver)->finish_step(); }, this})) {
  for (int worker = 0; worker < threads; ++worker) workers_.emplace_back([this, worker] { work(worker); });
}

Solver::~Solver() {
  for (std::thread& worker : workers_) worker.join();
}

void Solver::work(int worker) {
  const auto index = static_cast<std::size_t>(worker);
  const std::size_t rows = field_.size();
  const std::size_t first = rows * index / static_cast<std::size_t>(threads_);
  const std::size_t last = rows * (index + 1) / static_cast<std::size_t>(threads_);
  for (int step = 0; step < steps_; ++step) {
    largest_change_[index] = field_.advance_rows(first, last);
    barrier_->arrived.arrive_and_wait();
  }
}

void Solver::finish_step() noexcept {
  field_.swap();
  const std::lock_guard<std::mutex> lock(mutex_);
  ++finished_;
  residuals_[static_cast<std::size_t>(finished_)] = *std::max_element(largest_change_.begin(), largest_change_.end());
  step_finished_.notify_all();
}

double Solver::wait_for_step(int step) {
  std::unique_lock<std::mutex> lock(mutex_);
  step_finished_.wait(lock, [&] { return finished_ >= step; });
  return residuals_[static_cast<std::size_t>(step)];
}

}  // namespace heat
