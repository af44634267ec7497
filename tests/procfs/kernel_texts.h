// Texts of /proc files as kernels from the oldest supported one to today's write them.
#ifndef STILLPOINT_TESTS_PROCFS_KERNEL_TEXTS_H_
#define STILLPOINT_TESTS_PROCFS_KERNEL_TEXTS_H_

namespace stillpoint::procfs {

extern const char kMaps514[];
extern const char kMaps618[];
extern const char kMaps32Bit[];
extern const char kSmaps514[];
extern const char kSmaps618[];
extern const char kStat[];
extern const char kStatKernelThread[];
extern const char kStatus514[];
extern const char kStatus618[];
extern const char kStatusZombie[];
extern const char kLimits[];
extern const char kTimers[];
extern const char kMountinfo[];

}  // namespace stillpoint::procfs

#endif  // STILLPOINT_TESTS_PROCFS_KERNEL_TEXTS_H_
