#include "tests/procfs/kernel_texts.h"

namespace stillpoint::procfs {

const char kMaps514[] =
    R"(559f2c600000-559f2c608000 r--p 00000000 fd:00 134298119                  /usr/bin/cat
559f2c608000-559f2c60d000 r-xp 00002000 fd:00 134298119                  /usr/bin/cat
559f2e1d9000-559f2e1fa000 rw-p 00000000 00:00 0                          [heap]
7f1c7a000000-7f1c7a021000 rw-p 00000000 00:00 0 
7f1c7a021000-7f1c7e000000 ---p 00000000 00:00 0 
7f1c80a00000-7f1c80c00000 rw-s 00000000 00:01 1029                       /dev/zero (deleted)
7f1c80c00000-7f1c80c01000 rw-s 00001000 00:01 2050                       /memfd:ring buffer (deleted)
7fff3b1d2000-7fff3b1f4000 rw-p 00000000 00:00 0                          [stack]
7fff3b1fa000-7fff3b1fe000 r--p 00000000 00:00 0                          [vvar]
7fff3b1fe000-7fff3b200000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
)";

const char kMaps618[] =
    R"(55b6b6714000-55b6b6716000 r--p 00000000 fe:00 248056                     /usr/bin/sleep
55b6ea38d000-55b6ea3ae000 rw-p 00000000 00:00 0                          [heap]
7ff403400000-7ff403401000 rw-p 00000000 00:00 0                          [anon:glibc: malloc arena]
7ff403401000-7ff403403000 rw-s 00000000 00:01 77                         [anon_shmem:shared counters]
7ff403403000-7ff403404000 rw-s 00000000 00:0f 2057                       anon_inode:[io_uring]
7ff403404000-7ff403405000 r--p 00000000 103:00002 18446744073709551615   /mnt/odd\012name (deleted)
7ff40372c000-7ff403730000 r--p 00000000 00:00 0                          [vvar]
7ff403730000-7ff403732000 r--p 00000000 00:00 0                          [vvar_vclock]
7ff403732000-7ff403734000 r-xp 00000000 00:00 0                          [vdso]
7ffc240dd000-7ffc240fe000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
)";

const char kMaps32Bit[] =
    R"(08048000-08056000 r-xp 00000000 03:0c 64593      /usr/sbin/gpm
08056000-08058000 rw-p 0000d000 03:0c 64593      /usr/sbin/gpm
f7f5c000-f7f5e000 r-xp 00000000 00:00 0          [vdso]
fffdd000-ffffe000 rw-p 00000000 00:00 0          [stack]
)";

const char kSmaps514[] =
    R"(559f2e1d9000-559f2e1fa000 rw-p 00000000 00:00 0                          [heap]
Size:                132 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                   4 kB
Pss:                   4 kB
Locked:                0 kB
THPeligible:    0
ProtectionKey:         0
VmFlags: rd wr mr mw me ac sd 
7f1c80a00000-7f1c80c00000 rw-s 00000000 00:0e 1029                       /anon_hugepage (deleted)
Size:               2048 kB
KernelPageSize:     2048 kB
MMUPageSize:        2048 kB
Rss:                   0 kB
THPeligible:    0
VmFlags: rd wr sh mr mw me ms de ht sd 
)";

const char kSmaps618[] =
    R"(7ff403400000-7ff403401000 rw-p 00000000 00:00 0                          [anon:arena]
Size:                  4 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                   4 kB
Pss:                   4 kB
Pss_Dirty:             4 kB
KSM:                   0 kB
THPeligible:           0
VmFlags: rd wr mr mw me dc wf hg ??  
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
Size:                  4 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
VmFlags: ex 
)";

const char kStat[] =
    "8000 (a) R 1 (b) S 7959 7953 2586 34816 7953 4194304 75 0 1 0 0 0 0 0 20 0 1 0 267435 2990080 393 "
    "18446744073709551615 94243233292288 94243233310217 140720913501088 0 0 0 0 0 0 1 0 0 17 1 0 0 0 0 0 "
    "94243233324304 94243233325568 94244102000640 140720913504445 140720913504455 140720913504455 140720913506281 9\n";

const char kStatKernelThread[] =
    "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 1 0 0 20 0 1 0 30 0 0 18446744073709551615 0 0 0 0 0 0 0 "
    "2147483647 0 1 0 0 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

const char kStatus514[] =
    "Name:\tworker 3\n"
    "Umask:\t0027\n"
    "State:\tt (tracing stop)\n"
    "Tgid:\t4242\nNgid:\t0\nPid:\t4245\nPPid:\t4200\nTracerPid:\t4250\n"
    "Uid:\t1000\t1001\t1002\t1003\n"
    "Gid:\t100\t101\t102\t103\n"
    "FDSize:\t64\n"
    "Groups:\t4 24 100 4294967294 \n"
    "NStgid:\t4242\t12\nNSpid:\t4245\t15\nNSpgid:\t4242\t12\nNSsid:\t4200\t0\n"
    "VmPeak:\t   5584 kB\nVmLck:\t     132 kB\nVmPin:\t       0 kB\n"
    "CoreDumping:\t0\nTHP_enabled:\t0\nThreads:\t4\nSigQ:\t1/63460\n"
    "SigPnd:\t0000000000000200\nShdPnd:\t0000000000004000\nSigBlk:\tfffffffe7ffbfeff\n"
    "SigIgn:\t0000000000001000\nSigCgt:\t0000000180000002\n"
    "CapInh:\t0000000000000001\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000004\n"
    "CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000008\n"
    "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n"
    "Speculation_Store_Bypass:\tthread vulnerable\nCpus_allowed:\tff\nnonvoluntary_ctxt_switches:\t0\n";

const char kStatus618[] =
    "Name:\ta\\nb\\\\c: d\n"
    "Umask:\t0022\n"
    "State:\tR (running)\n"
    "Tgid:\t6110\nNgid:\t0\nPid:\t6110\nPPid:\t6102\nTracerPid:\t0\n"
    "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t256\nGroups:\t \n"
    "NStgid:\t6110\nNSpid:\t6110\nNSpgid:\t6102\nNSsid:\t2586\nKthread:\t0\n"
    "VmLck:\t       0 kB\nHugetlbPages:\t       0 kB\nCoreDumping:\t0\nTHP_enabled:\t1\n"
    "untag_mask:\t0xffffffffffffffff\nThreads:\t1\nSigQ:\t0/96365\n"
    "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n"
    "SigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n"
    "CapInh:\t0000000000000000\nCapPrm:\t000001fffeffffff\nCapEff:\t000001fffeffffff\n"
    "CapBnd:\t000001fffeffffff\nCapAmb:\t0000000000000000\n"
    "NoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n"
    "x86_Thread_features:\tshstk wrss \nx86_Thread_features_locked:\tshstk \n";

const char kStatusZombie[] =
    "Name:\tsleep\nState:\tZ (zombie)\nTgid:\t8000\nNgid:\t0\nPid:\t8000\nPPid:\t7959\nTracerPid:\t0\n"
    "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t0\nGroups:\t \nThreads:\t1\nSigQ:\t0/96365\n"
    "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\nSigBlk:\t0000000000000000\n"
    "SigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\nCapInh:\t0000000000000000\n"
    "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n"
    "CapAmb:\t0000000000000000\nNoNewPrivs:\t0\n";

const char kLimits[] =
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max cpu time              3600                 7200                 seconds   \n"
    "Max file size             unlimited            unlimited            bytes     \n"
    "Max data size             unlimited            unlimited            bytes     \n"
    "Max stack size            8388608              unlimited            bytes     \n"
    "Max core file size        0                    unlimited            bytes     \n"
    "Max resident set          unlimited            unlimited            bytes     \n"
    "Max processes             96365                96365                processes \n"
    "Max open files            1024                 1048576              files     \n"
    "Max locked memory         8388608              8388608              bytes     \n"
    "Max address space         18446744073709551614 unlimited            bytes     \n"
    "Max file locks            unlimited            unlimited            locks     \n"
    "Max pending signals       96365                96365                signals   \n"
    "Max msgqueue size         819200               819200               bytes     \n"
    "Max nice priority         0                    0                    \n"
    "Max realtime priority     5                    9                    \n"
    "Max realtime timeout      unlimited            unlimited            us        \n";

const char kTimers[] =
    "ID: 0\nsignal: 14/0000000000000000\nnotify: signal/pid.2634\nClockID: 0\n"
    "ID: 1\nsignal: 60/00007fff86e452a8\nnotify: signal/tid.2636\nClockID: 1\n"
    "ID: 5\nsignal: 34/ffffffffffffffff\nnotify: none/pid.0\nClockID: -6\n"
    "ID: 7\nsignal: 32/0000000000000001\nnotify: thread/pid.2634\nClockID: 7\n";

const char kMountinfo[] =
    R"(22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
36 22 0:31 /sub\040volume /mnt/with\040blank\011tab\012line\134slash rw,noatime shared:2 master:1 - btrfs /dev/vdb rw
37 22 0:32 / /tmp rw - tmpfs  rw,size=1024k
38 22 0:33 / /home/u/remote rw,nosuid - fuse.sshfs u@host:/\043dir rw,user_id=1000
39 22 0:4 net:[4026532008] /run/netns/blue rw - nsfs nsfs rw
40 22 0:34 / /gone//deleted rw unbindable - tmpfs none rw
)";

}  // namespace stillpoint::procfs
