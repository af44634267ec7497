// The functions of stillpoint/stillpoint.h: arguments checked, nothing thrown across.
#include <stillpoint/stillpoint.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "sdk/checkpoint.h"
#include "sdk/checkpointer.h"
#include "sdk/excluded_memory.h"
#include "sdk/hook_registry.h"
#include "sdk/last_call.h"

namespace {

using namespace stillpoint::sdk;  // NOLINT(google-build-using-namespace): this file is the room's outer face

// Want of memory is all that can be thrown inside.
template <typename Function>
stillpoint_code_t guarded(Function function) noexcept {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return STILLPOINT_RESOURCE_EXHAUSTED;
  } catch (...) {
    return STILLPOINT_INTERNAL;
  }
}

// The part of a caller's structure that both sides know, over the defaults in `known`.
template <typename T>
bool copy_known(const T* given, T& known) {
  if (given == nullptr || given->struct_size < sizeof given->struct_size) return false;
  std::memcpy(&known, given, std::min(given->struct_size, sizeof known));
  return true;
}

bool valid_range(const void* start, size_t length) {
  return start != nullptr && length > 0 &&
         reinterpret_cast<uint64_t>(start) + length > reinterpret_cast<uint64_t>(start);
}

}  // namespace

struct stillpoint_checkpointer {
  Checkpointer implementation;
};

extern "C" {

stillpoint_code_t stillpoint_checkpoint(const char* directory, const stillpoint_options_t* options,
                                        stillpoint_result_t* result) noexcept {
  return guarded([&] {
    CheckpointCall call;
    call.directory = directory;
    call.options = options;
    call.result = result;
    return take_checkpoint(call);
  });
}

const char* stillpoint_error_text(void) noexcept { return last_call().error.c_str(); }

const char* stillpoint_failed_hook(void) noexcept { return last_call().failed_hook.c_str(); }

const char* stillpoint_code_name(stillpoint_code_t code) noexcept {
  static constexpr const char* kNames[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  return code >= 0 && code <= STILLPOINT_UNAUTHENTICATED ? kNames[code] : "UNKNOWN";
}

const char* stillpoint_version(void) noexcept { return STILLPOINT_VERSION_STRING; }

size_t stillpoint_finding_count(void) noexcept { return last_call().findings.size(); }

stillpoint_code_t stillpoint_finding_get(size_t index, stillpoint_finding_t* finding) noexcept {
  if (finding == nullptr || finding->struct_size < sizeof finding->struct_size) return STILLPOINT_INVALID_ARGUMENT;
  if (index >= last_call().findings.size()) return STILLPOINT_OUT_OF_RANGE;
  const stillpoint::Finding& from = last_call().findings[index];
  const stillpoint_finding_t all = {finding->struct_size, from.code.c_str(), from.object.c_str(), from.reason.c_str(),
                                    from.remedy.c_str()};
  std::memcpy(finding, &all, std::min(finding->struct_size, sizeof all));
  return STILLPOINT_OK;
}

size_t stillpoint_note_count(void) noexcept { return last_call().notes.size(); }

const char* stillpoint_note(size_t index) noexcept {
  return index < last_call().notes.size() ? last_call().notes[index].c_str() : nullptr;
}

stillpoint_code_t stillpoint_hooks_register(const stillpoint_hooks_t* hooks, uint64_t* id) noexcept {
  return guarded([&]() -> stillpoint_code_t {
    stillpoint_hooks_t known = STILLPOINT_HOOKS_INIT;
    if (id == nullptr || !copy_known(hooks, known)) return STILLPOINT_INVALID_ARGUMENT;
    if (known.pre_dump == nullptr && known.post_resume == nullptr && known.post_restore == nullptr) {
      return STILLPOINT_INVALID_ARGUMENT;
    }
    *id = register_hook(known);
    return STILLPOINT_OK;
  });
}

stillpoint_code_t stillpoint_hooks_unregister(uint64_t id) noexcept {
  return guarded([&]() -> stillpoint_code_t { return unregister_hook(id) ? STILLPOINT_OK : STILLPOINT_NOT_FOUND; });
}

stillpoint_code_t stillpoint_exclude_memory(const void* start, size_t length) noexcept {
  return guarded([&]() -> stillpoint_code_t {
    if (!valid_range(start, length)) return STILLPOINT_INVALID_ARGUMENT;
    exclude({reinterpret_cast<uint64_t>(start), length});
    return STILLPOINT_OK;
  });
}

stillpoint_code_t stillpoint_include_memory(const void* start, size_t length) noexcept {
  return guarded([&]() -> stillpoint_code_t {
    return include({reinterpret_cast<uint64_t>(start), length}) ? STILLPOINT_OK : STILLPOINT_NOT_FOUND;
  });
}

stillpoint_code_t stillpoint_checkpointer_create(const stillpoint_checkpointer_options_t* options,
                                                 stillpoint_checkpointer_t** checkpointer) noexcept {
  return guarded([&]() -> stillpoint_code_t {
    stillpoint_checkpointer_options_t known = STILLPOINT_CHECKPOINTER_OPTIONS_INIT;
    if (checkpointer == nullptr || !copy_known(options, known)) return STILLPOINT_INVALID_ARGUMENT;
    *checkpointer = new stillpoint_checkpointer{Checkpointer(known)};
    return STILLPOINT_OK;
  });
}

void stillpoint_checkpointer_destroy(stillpoint_checkpointer_t* checkpointer) noexcept { delete checkpointer; }

int stillpoint_checkpointer_due(const stillpoint_checkpointer_t* checkpointer) noexcept {
  return checkpointer != nullptr && checkpointer->implementation.due() ? 1 : 0;
}

stillpoint_code_t stillpoint_checkpointer_poll(stillpoint_checkpointer_t* checkpointer, stillpoint_poll_t* poll,
                                               stillpoint_result_t* result) noexcept {
  if (checkpointer == nullptr) return STILLPOINT_INVALID_ARGUMENT;
  return guarded([&] {
    stillpoint_poll_t ignored = STILLPOINT_POLL_NOTHING_DUE;
    return checkpointer->implementation.poll(poll == nullptr ? ignored : *poll, result);
  });
}

stillpoint_code_t stillpoint_checkpointer_checkpoint(stillpoint_checkpointer_t* checkpointer,
                                                     stillpoint_result_t* result) noexcept {
  if (checkpointer == nullptr) return STILLPOINT_INVALID_ARGUMENT;
  return guarded([&] { return checkpointer->implementation.checkpoint(result); });
}

}  // extern "C"
