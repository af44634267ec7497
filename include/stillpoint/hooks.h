// Hooks: what a program does around a checkpoint.
//
//   stillpoint::HookRegistration flush = stillpoint::on_pre_dump("flush log", [&] { return log.flush(); });
//
// A hook is registered while its HookRegistration lives. It returns nothing, a bool (false: failed), a
// stillpoint::Status, or anything with ok() and message() such as an absl::Status; an exception that leaves it is its
// failure, with what() as the text. Hooks run in the thread that takes the checkpoint. Order and the consequences of a
// failure: stillpoint_hooks_register in stillpoint.h. Any thread may register; destroying a registration waits for its
// hook if another thread is running it.
#ifndef STILLPOINT_HOOKS_H_
#define STILLPOINT_HOOKS_H_

#include <stillpoint/status.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace stillpoint {
inline namespace v0 {
namespace internal {

using HookFunction = std::function<Status()>;

// Shared, so that a hook which resets its own registration does not pull its function object from under itself.
struct HookFunctions {
  std::shared_ptr<HookFunction> pre_dump, post_resume, post_restore;
};

template <typename Callable>
HookFunction wrap_hook(Callable callable) {
  using Returned = std::invoke_result_t<Callable&>;
  if constexpr (std::is_void_v<Returned>) {
    return [callable = std::move(callable)]() mutable {
      callable();
      return Status();
    };
  } else if constexpr (std::is_same_v<Returned, bool>) {
    return [callable = std::move(callable)]() mutable {
      return callable() ? Status() : Status(Code::kUnknown, "it returned false");
    };
  } else if constexpr (std::is_convertible_v<Returned, Status>) {
    return [callable = std::move(callable)]() mutable -> Status { return callable(); };
  } else {
    return [callable = std::move(callable)]() mutable {
      const auto returned = callable();
      if (returned.ok()) return Status();
      const auto& message = returned.message();
      return Status(Code::kUnknown, std::string(message.data(), message.size()));
    };
  }
}

template <typename Callable>
std::shared_ptr<HookFunction> to_hook(Callable callable) {
  return std::make_shared<HookFunction>(wrap_hook(std::move(callable)));
}

// Turns whatever comes out of a hook into what the C interface understands.
inline int run_hook(std::shared_ptr<HookFunction> function, char* error, std::size_t error_size) noexcept {
  try {
    const Status status = (*function)();
    if (status.ok()) return 0;
    std::snprintf(error, error_size, "%s", status.message().c_str());
  } catch (const std::exception& exception) {
    std::snprintf(error, error_size, "exception: %s", exception.what());
  } catch (...) {
    std::snprintf(error, error_size, "exception that is no std::exception");
  }
  return 1;
}

inline int run_pre_dump(void* functions, char* error, std::size_t error_size) noexcept {
  return run_hook(static_cast<HookFunctions*>(functions)->pre_dump, error, error_size);
}
inline int run_post_resume(void* functions, char* error, std::size_t error_size) noexcept {
  return run_hook(static_cast<HookFunctions*>(functions)->post_resume, error, error_size);
}
inline int run_post_restore(void* functions, char* error, std::size_t error_size) noexcept {
  return run_hook(static_cast<HookFunctions*>(functions)->post_restore, error, error_size);
}

}  // namespace internal

// Movable, not copyable; empty when moved from, default-constructed, or when the registration failed.
class [[nodiscard]] HookRegistration {
 public:
  HookRegistration() = default;
  HookRegistration(const char* name, int priority, internal::HookFunctions functions)
      : functions_(std::make_unique<internal::HookFunctions>(std::move(functions))) {
    stillpoint_hooks_t hooks = STILLPOINT_HOOKS_INIT;
    hooks.name = name;
    hooks.priority = priority;
    if (functions_->pre_dump) hooks.pre_dump = &internal::run_pre_dump;
    if (functions_->post_resume) hooks.post_resume = &internal::run_post_resume;
    if (functions_->post_restore) hooks.post_restore = &internal::run_post_restore;
    hooks.user_data = functions_.get();
    const stillpoint_code_t code = stillpoint_hooks_register(&hooks, &id_);
    if (code != STILLPOINT_OK) {
      status_ = Status(static_cast<Code>(code), std::string("cannot register hook '") + name + "'");
      id_ = 0;
    }
  }
  HookRegistration(HookRegistration&& other) noexcept
      : id_(std::exchange(other.id_, 0)), functions_(std::move(other.functions_)), status_(std::move(other.status_)) {}
  HookRegistration& operator=(HookRegistration&& other) noexcept {
    if (this != &other) {
      reset();
      id_ = std::exchange(other.id_, 0);
      functions_ = std::move(other.functions_);
      status_ = std::move(other.status_);
    }
    return *this;
  }
  ~HookRegistration() { reset(); }

  // Unregisters now. A hook may reset its own registration: its function object then lives until it has returned.
  void reset() {
    if (id_ == 0) return;
    stillpoint_hooks_unregister(std::exchange(id_, 0));
    functions_.reset();
  }
  bool registered() const { return id_ != 0; }
  const Status& status() const { return status_; }  // why it is not registered

 private:
  std::uint64_t id_ = 0;
  std::unique_ptr<internal::HookFunctions> functions_;
  Status status_;
};

// Before anything is stopped. A failure ends the checkpoint.
template <typename Callable>
HookRegistration on_pre_dump(const std::string& name, Callable callable, int priority = 0) {
  internal::HookFunctions functions;
  functions.pre_dump = internal::to_hook(std::move(callable));
  return HookRegistration(name.c_str(), priority, std::move(functions));
}

// When the pause is over; the image may still be being written.
template <typename Callable>
HookRegistration on_post_resume(const std::string& name, Callable callable, int priority = 0) {
  internal::HookFunctions functions;
  functions.post_resume = internal::to_hook(std::move(callable));
  return HookRegistration(name.c_str(), priority, std::move(functions));
}

// First thing in a new life.
template <typename Callable>
HookRegistration on_post_restore(const std::string& name, Callable callable, int priority = 0) {
  internal::HookFunctions functions;
  functions.post_restore = internal::to_hook(std::move(callable));
  return HookRegistration(name.c_str(), priority, std::move(functions));
}

// All three of one resource under one name: what pre_dump released, post_resume or post_restore takes back.
template <typename PreDump, typename PostResume, typename PostRestore>
HookRegistration add_hooks(const std::string& name, PreDump pre_dump, PostResume post_resume, PostRestore post_restore,
                           int priority = 0) {
  internal::HookFunctions functions;
  functions.pre_dump = internal::to_hook(std::move(pre_dump));
  functions.post_resume = internal::to_hook(std::move(post_resume));
  functions.post_restore = internal::to_hook(std::move(post_restore));
  return HookRegistration(name.c_str(), priority, std::move(functions));
}

}  // namespace v0
}  // namespace stillpoint

#endif  // STILLPOINT_HOOKS_H_
