#include "helper/memory/call_batch.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace stillpoint {
namespace {

constexpr size_t kDataAlignment = 16;
constexpr size_t kMostCallBytes = size_t{256} << 10;

}  // namespace

CallBatch::CallBatch(WorkerClient& client)
    : client_(client),
      call_area_(std::min(client.arena_size() / 4, kMostCallBytes) / kDataAlignment * kDataAlignment),
      half_size_((client.arena_size() - call_area_) / 2 / kDataAlignment * kDataAlignment) {}

size_t CallBatch::add(long number, std::initializer_list<uint64_t> arguments, uint32_t flags, std::string description) {
  worker::Call call = {};
  call.number = number;
  call.flags = flags;
  call.tag = static_cast<uint32_t>(descriptions_.size());
  call.result = -ECANCELED;
  if (arguments.size() > 6 && status_.ok()) {
    status_ = absl::InvalidArgumentError(absl::StrCat(description, ": more than six arguments"));
  }
  std::copy_n(arguments.begin(), std::min<size_t>(arguments.size(), 6), call.arguments);
  if ((calls_.size() - made_ + 1) * sizeof(worker::Call) > call_area_) run().IgnoreError();  // kept in status_
  calls_.push_back(call);
  descriptions_.push_back(std::move(description));
  return calls_.size() - 1;
}

uint64_t CallBatch::place(size_t size, char** at) {
  *at = nullptr;
  const size_t rounded = (size + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
  if (size > half_size_ || rounded > half_size_) {
    if (status_.ok()) {
      status_ =
          absl::ResourceExhaustedError(absl::StrCat(size, " bytes of data for a system call, limit ", half_size_));
    }
    return 0;
  }
  if (used_ + rounded > half_size_) {
    run().IgnoreError();  // kept in status_; what uses the other half's data has been made now
    half_ = 1 - half_;
    used_ = 0;
  }
  const size_t offset = call_area_ + half_ * half_size_ + used_;
  used_ += rounded;
  *at = client_.arena() + offset;
  return client_.arena_address() + offset;
}

uint64_t CallBatch::put(absl::string_view bytes) {
  char* at = nullptr;
  const uint64_t address = place(bytes.size(), &at);
  if (at != nullptr && !bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  return address;
}

uint64_t CallBatch::put_string(absl::string_view text) {
  char* at = nullptr;
  const uint64_t address = place(text.size() + 1, &at);
  if (at != nullptr) {
    std::copy(text.begin(), text.end(), at);
    at[text.size()] = '\0';
  }
  return address;
}

uint64_t CallBatch::reserve(size_t size) {
  char* at = nullptr;
  const uint64_t address = place(size, &at);
  if (at != nullptr) std::memset(at, 0, size);
  return address;
}

absl::Status CallBatch::run() {
  if (!status_.ok() || made_ == calls_.size()) return status_;
  const size_t first = std::exchange(made_, calls_.size());
  status_ = client_.calls_within(absl::MakeSpan(calls_).subspan(first), call_area_,
                                 [&](uint32_t tag) { return descriptions_[tag]; });
  return status_;
}

std::string CallBatch::fetch(uint64_t address, size_t size) const {
  const uint64_t begin = client_.arena_address();
  const size_t limit = client_.arena_size();
  if (address < begin || address - begin > limit || size > limit - (address - begin)) return "";
  return std::string(client_.arena() + (address - begin), size);
}

}  // namespace stillpoint
