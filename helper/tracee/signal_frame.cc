#include "helper/tracee/signal_frame.h"

#include <cpuid.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace stillpoint {
namespace {

// Linux: arch/x86/include/uapi/asm/sigcontext.h, ucontext.h. Own structures: the C library's have other sizes.
struct SignalContext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t di, si, bp, bx, dx, ax, cx, sp, ip, flags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2, fpstate;
  uint64_t reserved[8];
};
static_assert(sizeof(SignalContext) == 256);

struct SignalFrame {
  uint64_t return_address;
  uint64_t uc_flags, uc_link;
  uint64_t stack_address;
  int32_t stack_flags, stack_pad;
  uint64_t stack_size;
  SignalContext context;
  uint64_t signal_mask;
  char siginfo[128];
};
static_assert(sizeof(SignalFrame) == kSignalFrameSize);
static_assert(offsetof(SignalFrame, context) + offsetof(SignalContext, di) == kSignalFrameRdi);

constexpr uint64_t kUcFpXstate = 1, kUcSigcontextSs = 2, kUcStrictRestoreSs = 4;
// A mode sigaltstack(2) does not know: the kernel ignores that error and keeps the stack the thread has.
constexpr int32_t kInvalidStackMode = 0x5000;

// XSAVE area, standard format (Intel SDM vol. 1, 13.4).
constexpr size_t kLegacySize = 512, kHeaderSize = 64;
constexpr size_t kSoftwareReserved = 464;
constexpr uint64_t kLegacyComponents = 3;  // x87, SSE
struct SoftwareReserved {                  // struct _fpx_sw_bytes
  uint32_t magic1, extended_size;
  uint64_t components;
  uint32_t xstate_size, padding[7];
};
static_assert(sizeof(SoftwareReserved) == 48);
constexpr uint32_t kMagic1 = 0x46505853, kMagic2 = 0x46505845;  // FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2

// Where the last of `components` ends.
size_t area_size(uint64_t components) {
  size_t size = kLegacySize + kHeaderSize;
  for (unsigned component = 2; component < 63; ++component) {
    if ((components >> component & 1) == 0) continue;
    unsigned length = 0, offset = 0, c = 0, d = 0;
    if (__get_cpuid_count(0xd, component, &length, &offset, &c, &d) == 0) continue;
    size = std::max<size_t>(size, size_t{offset} + length);
  }
  return size;
}

void copy_registers(const GeneralRegisters& from, SignalContext& to) {
  to.r8 = from.r8;
  to.r9 = from.r9;
  to.r10 = from.r10;
  to.r11 = from.r11;
  to.r12 = from.r12;
  to.r13 = from.r13;
  to.r14 = from.r14;
  to.r15 = from.r15;
  to.di = from.rdi;
  to.si = from.rsi;
  to.bp = from.rbp;
  to.bx = from.rbx;
  to.dx = from.rdx;
  to.ax = from.rax;
  to.cx = from.rcx;
  to.sp = from.rsp;
  to.ip = from.rip;
  to.flags = from.eflags;
  to.cs = static_cast<uint16_t>(from.cs);
  to.ss = static_cast<uint16_t>(from.ss);
}

}  // namespace

std::string make_signal_frame(const SignalFrameContext& context) {
  SignalFrame frame{};
  frame.return_address = context.return_address;
  frame.uc_flags = kUcSigcontextSs | kUcStrictRestoreSs | (context.extended_state_address != 0 ? kUcFpXstate : 0);
  frame.stack_flags = kInvalidStackMode;
  frame.signal_mask = context.signal_mask;
  copy_registers(context.registers, frame.context);
  frame.context.oldmask = context.signal_mask;
  frame.context.fpstate = context.extended_state_address;
  return std::string(reinterpret_cast<const char*>(&frame), sizeof frame);
}

absl::StatusOr<std::string> make_frame_extended_state(absl::string_view xstate) {
  if (xstate.size() < kLegacySize + kHeaderSize) {
    return absl::InternalError(absl::StrCat("an XSAVE area of only ", xstate.size(), " bytes"));
  }
  uint64_t components = 0;
  std::memcpy(&components, xstate.data() + kLegacySize, sizeof components);
  const size_t size = area_size(components);
  if (size > xstate.size()) {
    return absl::InternalError(absl::StrCat("an XSAVE area of ", xstate.size(), " bytes for components 0x",
                                            absl::Hex(components), ", which need ", size));
  }
  std::string area(xstate.substr(0, size));
  SoftwareReserved reserved{};
  reserved.magic1 = kMagic1;
  reserved.extended_size = static_cast<uint32_t>(size + sizeof kMagic2);
  reserved.components = components | kLegacyComponents;
  reserved.xstate_size = static_cast<uint32_t>(size);
  std::memcpy(area.data() + kSoftwareReserved, &reserved, sizeof reserved);
  area.append(reinterpret_cast<const char*>(&kMagic2), sizeof kMagic2);
  return area;
}

}  // namespace stillpoint
