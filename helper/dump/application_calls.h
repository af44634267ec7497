// System calls made by the application itself, whichever way: its thread inside checkpoint()
// answers over the socket, or a stopped thread makes remote calls.
#ifndef STILLPOINT_HELPER_DUMP_APPLICATION_CALLS_H_
#define STILLPOINT_HELPER_DUMP_APPLICATION_CALLS_H_

#include <cstdint>
#include <initializer_list>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "helper/base/errors.h"
#include "helper/base/syscalls.h"
#include "helper/dump/sdk_thread.h"
#include "helper/tracee/remote_call.h"

namespace stillpoint {

class ApplicationCalls {
 public:
  virtual ~ApplicationCalls() = default;
  virtual pid_t tid() const = 0;
  // The raw result; a Status only when the call could not be made at all.
  virtual absl::StatusOr<int64_t> call(long number, std::initializer_list<uint64_t> arguments) = 0;
  // At least 1 KiB of the application's memory that nobody else uses.
  virtual uint64_t scratch() const = 0;

  // Makes a call whose argument with index `argument` points to a structure that the kernel fills, and fetches it.
  // A negative result is an error that names the call.
  template <typename T>
  absl::StatusOr<T> fetch(absl::string_view name, long number, std::initializer_list<uint64_t> arguments) {
    RETURN_IF_ERROR(checked(name, number, arguments).status());
    T value{};
    RETURN_IF_ERROR(read_memory(tid(), scratch(), &value, sizeof value));
    return value;
  }
  absl::StatusOr<int64_t> checked(absl::string_view name, long number, std::initializer_list<uint64_t> arguments);
};

class SdkApplicationCalls : public ApplicationCalls {
 public:
  explicit SdkApplicationCalls(SdkThreadConnection& connection) : connection_(connection) {}
  pid_t tid() const override { return connection_.tid(); }
  absl::StatusOr<int64_t> call(long number, std::initializer_list<uint64_t> arguments) override {
    return connection_.call(number, arguments);
  }
  // Behind what the SDK keeps at the start of its scratch memory.
  uint64_t scratch() const override;

 private:
  SdkThreadConnection& connection_;
};

class RemoteApplicationCalls : public ApplicationCalls {
 public:
  RemoteApplicationCalls(pid_t tid, RemoteCalls calls) : tid_(tid), calls_(std::move(calls)) {}
  pid_t tid() const override { return tid_; }
  absl::StatusOr<int64_t> call(long number, std::initializer_list<uint64_t> arguments) override {
    return calls_.call(number, arguments);
  }
  uint64_t scratch() const override { return calls_.scratch(); }
  RemoteCalls& remote() { return calls_; }

 private:
  pid_t tid_;
  RemoteCalls calls_;
};

}  // namespace stillpoint

#endif  // STILLPOINT_HELPER_DUMP_APPLICATION_CALLS_H_
