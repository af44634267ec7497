/* Stillpoint's C interface: a program checkpoints itself and comes back inside the same call.
 *
 *   stillpoint_result_t result = STILLPOINT_RESULT_INIT;
 *   if (stillpoint_checkpoint("ckpt", NULL, &result) != STILLPOINT_OK)
 *     fprintf(stderr, "%s\n", stillpoint_error_text());
 *
 * C11, and the stable binary interface under the C++ headers. Every structure begins with its size (the _INIT macros
 * fill it in), so that a program built against an older header works with a newer library and the other way round.
 *
 * Threads: every function may be called from any thread. None is async-signal-safe. One checkpoint is taken at a time;
 * a second caller waits for the first. Error text, findings and notes belong to the calling thread and to its latest
 * call of stillpoint_checkpoint, stillpoint_checkpointer_poll or stillpoint_checkpointer_checkpoint: strings returned
 * stay valid until that thread's next such call.
 *
 * The environment overrides the code (all of it is ignored in setuid and similar programs, AT_SECURE):
 *   STILLPOINT_DIR     the checkpoint directory
 *   STILLPOINT_KEEP    how many images to keep (0: all)
 *   STILLPOINT_JOB_ID  the job that the directory belongs to; read when the program starts
 *   STILLPOINT_LOG     a file to which one line per checkpoint is appended; "-" is standard error
 *   STILLPOINT_OFF     anything but empty or "0": checkpoints do nothing and say so (STILLPOINT_OUTCOME_OFF)
 *   STILLPOINT_HELPER  path of stillpoint-helper, or "unix:/run/stillpoint/helper.sock" for a service
 */
#ifndef STILLPOINT_STILLPOINT_H_
#define STILLPOINT_STILLPOINT_H_

#include <stddef.h>
#include <stdint.h>
#include <stillpoint/version.h>

#if defined(__GNUC__)
#define STILLPOINT_API __attribute__((visibility("default")))
#else
#define STILLPOINT_API
#endif

/* The function looks at the address only: memory not yet written may be passed without a warning. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#define STILLPOINT_ADDRESS_ONLY(parameter) __attribute__((access(none, parameter)))
#else
#define STILLPOINT_ADDRESS_ONLY(parameter)
#endif

#ifdef __cplusplus
#define STILLPOINT_NOEXCEPT noexcept
extern "C" {
#else
#define STILLPOINT_NOEXCEPT
#endif

/* What functions return. The numbers are those of the canonical codes that gRPC and Abseil use, and never change. */
typedef int32_t stillpoint_code_t;
enum {
  STILLPOINT_OK = 0,
  STILLPOINT_CANCELLED = 1,
  STILLPOINT_UNKNOWN = 2,
  STILLPOINT_INVALID_ARGUMENT = 3,
  STILLPOINT_DEADLINE_EXCEEDED = 4,
  STILLPOINT_NOT_FOUND = 5,
  STILLPOINT_ALREADY_EXISTS = 6,
  STILLPOINT_PERMISSION_DENIED = 7,
  STILLPOINT_RESOURCE_EXHAUSTED = 8,
  STILLPOINT_FAILED_PRECONDITION = 9, /* findings: something that cannot be saved; called from a hook */
  STILLPOINT_ABORTED = 10,            /* a hook failed; stillpoint_failed_hook() names it */
  STILLPOINT_OUT_OF_RANGE = 11,
  STILLPOINT_UNIMPLEMENTED = 12,
  STILLPOINT_INTERNAL = 13,
  STILLPOINT_UNAVAILABLE = 14, /* the helper cannot be started, or died */
  STILLPOINT_DATA_LOSS = 15,
  STILLPOINT_UNAUTHENTICATED = 16
};

/* What a call of stillpoint_checkpoint came to. */
typedef int32_t stillpoint_outcome_t;
enum {
  STILLPOINT_OUTCOME_NONE = 0,     /* no image was made */
  STILLPOINT_OUTCOME_RESUMED = 1,  /* the image is durable and the program goes on */
  STILLPOINT_OUTCOME_RESTORED = 2, /* this is a new life of the program, started from the image */
  STILLPOINT_OUTCOME_OFF = 3       /* STILLPOINT_OFF is set: nothing was done, no hook was run */
};

/* What a stillpoint_options_t asks for besides. */
enum {
  STILLPOINT_STOP = 1u << 0, /* the process is killed (SIGKILL) once the image is durable; the call does not return */
  STILLPOINT_NO_EMBED = 1u << 1 /* do not keep copies of the executable and its libraries with the image */
};

typedef struct stillpoint_options {
  size_t struct_size;
  uint32_t flags;           /* STILLPOINT_STOP, STILLPOINT_NO_EMBED */
  uint32_t keep_last;       /* images to keep, this one included; 0: all */
  uint32_t freeze_limit_ms; /* how long all threads may take to stop; 0: 10 seconds */
  uint32_t reserved;        /* 0 */
  const char* helper;       /* as STILLPOINT_HELPER; NULL: looked for next to the SDK and where it was installed */
  const char* job_id;       /* of the job that the directory belongs to; NULL: as the batch system names it */
} stillpoint_options_t;
#define STILLPOINT_OPTIONS_INIT \
  { sizeof(stillpoint_options_t), 0, 0, 0, 0, NULL, NULL }

/* Differences between this life and the last that a program may want to know (stillpoint_result_t.flags). */
enum {
  STILLPOINT_RESTORED_IN_NAMESPACE = 1u << 0, /* pid, user and mount namespaces of its own */
  STILLPOINT_RESTORED_CLOCKS_JUMPED = 1u << 1 /* CLOCK_MONOTONIC and CLOCK_BOOTTIME do not go on from where they were */
};

typedef struct stillpoint_result {
  size_t struct_size;
  stillpoint_outcome_t outcome; /* also set when the call fails because of a hook that ran after the image was made */
  uint32_t flags;               /* restored: STILLPOINT_RESTORED_* */
  uint64_t sequence;            /* of the image: 42 for ckpt-00000042 */
  char image_path[4096];        /* directory as given, '/', name of the image; "" when there is none */
  /* Statistics, of a checkpoint that resumed (0 after a restart). Times in nanoseconds. */
  uint64_t pause_ns;       /* the application's threads did not run */
  uint64_t freeze_ns;      /* of it: until all threads had stopped */
  uint64_t snapshot_ns;    /* of it: forking the address space */
  uint64_t write_ns;       /* writing pages, while the application ran */
  uint64_t total_ns;       /* from the helper's first look to the durable image */
  uint64_t pages;          /* saved, of 4096 bytes */
  uint64_t bytes;          /* of page data */
  uint64_t image_bytes;    /* of all files of the image */
  char method[32];         /* how pages were written: "snapshot", "snapshot+outside", "stop" */
  char method_reason[256]; /* why not the fastest way; "" when it was */
} stillpoint_result_t;
#define STILLPOINT_RESULT_INIT                                                    \
  {                                                                               \
    sizeof(stillpoint_result_t), 0, 0, 0, {0}, 0, 0, 0, 0, 0, 0, 0, 0, {0}, { 0 } \
  }

/* Takes a checkpoint of the calling process and returns when the image is durable; returns again, in a new life,
 * after `stillpoint restart`: with outcome STILLPOINT_OUTCOME_RESTORED.
 *
 * `directory` is created (its last component only) if it is not there; NULL means STILLPOINT_DIR. `options` and
 * `result` may be NULL. On failure nothing was published, the program runs on unchanged, and stillpoint_error_text()
 * says why; the one exception is STILLPOINT_ABORTED with result->outcome set: the image is there (or the program
 * restored), but a post-resume or post-restore hook failed.
 *
 * Must not be called from a hook (STILLPOINT_FAILED_PRECONDITION). Thread cancellation is held off during the call. */
STILLPOINT_API stillpoint_code_t stillpoint_checkpoint(const char* directory, const stillpoint_options_t* options,
                                                       stillpoint_result_t* result) STILLPOINT_NOEXCEPT;

/* Why this thread's latest call failed; "" when it did not. Never NULL. */
STILLPOINT_API const char* stillpoint_error_text(void) STILLPOINT_NOEXCEPT;
/* The name of the hook that failed; "" when none did. With several, the first; the error text names all. */
STILLPOINT_API const char* stillpoint_failed_hook(void) STILLPOINT_NOEXCEPT;
/* "FAILED_PRECONDITION" for STILLPOINT_FAILED_PRECONDITION; "UNKNOWN" for a number that is no code. Never NULL. */
STILLPOINT_API const char* stillpoint_code_name(stillpoint_code_t code) STILLPOINT_NOEXCEPT;
/* "0.1.0" */
STILLPOINT_API const char* stillpoint_version(void) STILLPOINT_NOEXCEPT;

/* A finding: one thing that made the checkpoint refuse, with what to do about it. */
typedef struct stillpoint_finding {
  size_t struct_size;
  const char* code;   /* stable: "SP-LOCK-POSIX" */
  const char* object; /* "fd 7 /data/run.lock" */
  const char* reason;
  const char* remedy;
} stillpoint_finding_t;
#define STILLPOINT_FINDING_INIT \
  { sizeof(stillpoint_finding_t), NULL, NULL, NULL, NULL }

/* All findings of this thread's latest call. `index` from 0; STILLPOINT_OUT_OF_RANGE past the end. */
STILLPOINT_API size_t stillpoint_finding_count(void) STILLPOINT_NOEXCEPT;
STILLPOINT_API stillpoint_code_t stillpoint_finding_get(size_t index,
                                                        stillpoint_finding_t* finding) STILLPOINT_NOEXCEPT;

/* Remarks of the helper on this thread's latest call that succeeded ("fd 9: 3 inotify events were dropped"). NULL past
 * the end. */
STILLPOINT_API size_t stillpoint_note_count(void) STILLPOINT_NOEXCEPT;
STILLPOINT_API const char* stillpoint_note(size_t index) STILLPOINT_NOEXCEPT;

/* A hook: what the program does around a checkpoint. Returns 0 on success; else it may write why into `error`
 * (`error_size` bytes, terminated). It runs in the thread that takes the checkpoint, may register and unregister hooks,
 * and must neither take a checkpoint nor wait for a thread that does. */
typedef int (*stillpoint_hook_fn)(void* user_data, char* error, size_t error_size);

typedef struct stillpoint_hooks {
  size_t struct_size;
  const char* name; /* named in errors; copied */
  int32_t priority; /* higher: earlier before the dump, later after it */
  uint32_t reserved;
  /* Each may be NULL. */
  stillpoint_hook_fn pre_dump;     /* before anything is stopped. A failure ends the checkpoint. */
  stillpoint_hook_fn post_resume;  /* the pause is over; the image may still be being written */
  stillpoint_hook_fn post_restore; /* first thing in a new life */
  void* user_data;
} stillpoint_hooks_t;
#define STILLPOINT_HOOKS_INIT \
  { sizeof(stillpoint_hooks_t), NULL, 0, 0, NULL, NULL, NULL, NULL }

/* Registers hooks; `*id` names the registration. Order: before a dump by descending priority, among equals in reverse
 * order of registration; after it exactly the other way round. (Among equals: in order of registration.)
 *
 * If a pre-dump hook fails, nothing is dumped and the call returns STILLPOINT_ABORTED with that hook's name. The
 * post-resume hooks of those that had run are called: a post-resume hook belongs to the pre-dump hook of its own
 * registration or, when that has none, to pre-dump hooks of the same name. After any other failure all post-resume
 * hooks are called. A failing post-resume or post-restore hook keeps no other from running. */
STILLPOINT_API stillpoint_code_t stillpoint_hooks_register(const stillpoint_hooks_t* hooks,
                                                           uint64_t* id) STILLPOINT_NOEXCEPT;
/* When it returns, none of the registration's hooks is running or will run (called from one of those hooks: none will
 * run again). STILLPOINT_NOT_FOUND for an id that is not registered. */
STILLPOINT_API stillpoint_code_t stillpoint_hooks_unregister(uint64_t id) STILLPOINT_NOEXCEPT;

/* Memory that is not saved and is zero-filled in a new life: scratch, caches. Whole pages inside the range count.
 * Nothing changes for the running program. Ranges may overlap; each call is undone by one stillpoint_include_memory of
 * the same range. STILLPOINT_INVALID_ARGUMENT for a null pointer, length 0, or a range that wraps around. */
STILLPOINT_API stillpoint_code_t stillpoint_exclude_memory(const void* start, size_t length) STILLPOINT_NOEXCEPT
    STILLPOINT_ADDRESS_ONLY(1);
/* STILLPOINT_NOT_FOUND when that very range is not excluded. */
STILLPOINT_API stillpoint_code_t stillpoint_include_memory(const void* start, size_t length) STILLPOINT_NOEXCEPT
    STILLPOINT_ADDRESS_ONLY(1);

/* Checkpoints at intervals, from a loop that calls poll. */
typedef struct stillpoint_checkpointer stillpoint_checkpointer_t;

typedef struct stillpoint_checkpointer_options {
  size_t struct_size;
  const char* directory;   /* as in stillpoint_checkpoint; copied */
  uint64_t every_ns;       /* from the end of one checkpoint to the next; 0: only when a tool asks */
  uint32_t return_on_stop; /* not 0: after a checkpoint that a tool asked to stop at, poll returns
                              STILLPOINT_POLL_STOP_REQUESTED and the program ends itself; 0: the helper kills it */
  uint32_t reserved;
  stillpoint_options_t options; /* for each checkpoint; strings are copied */
} stillpoint_checkpointer_options_t;
#define STILLPOINT_CHECKPOINTER_OPTIONS_INIT \
  { sizeof(stillpoint_checkpointer_options_t), NULL, 0, 0, 0, STILLPOINT_OPTIONS_INIT }

typedef int32_t stillpoint_poll_t;
enum {
  STILLPOINT_POLL_NOTHING_DUE = 0,
  STILLPOINT_POLL_CHECKPOINTED = 1,
  STILLPOINT_POLL_RESTORED = 2,
  STILLPOINT_POLL_STOP_REQUESTED = 3 /* the image is durable; whatever the program still does is not in it */
};

/* The first checkpoint is due one interval after creation. Destroy with stillpoint_checkpointer_destroy. */
STILLPOINT_API stillpoint_code_t stillpoint_checkpointer_create(
    const stillpoint_checkpointer_options_t* options, stillpoint_checkpointer_t** checkpointer) STILLPOINT_NOEXCEPT;
STILLPOINT_API void stillpoint_checkpointer_destroy(stillpoint_checkpointer_t* checkpointer) STILLPOINT_NOEXCEPT;
/* 1 when the next poll would take a checkpoint, else 0. Costs nanoseconds: no system call, no lock. */
STILLPOINT_API int stillpoint_checkpointer_due(const stillpoint_checkpointer_t* checkpointer) STILLPOINT_NOEXCEPT;
/* Takes a checkpoint if one is due or a tool asks for one; else costs nanoseconds. A failed checkpoint is tried again
 * after another interval. Several threads may poll: one of them takes it. `poll` may be NULL, and so may `result`,
 * which is written only when a checkpoint was tried. */
STILLPOINT_API stillpoint_code_t stillpoint_checkpointer_poll(stillpoint_checkpointer_t* checkpointer,
                                                              stillpoint_poll_t* poll,
                                                              stillpoint_result_t* result) STILLPOINT_NOEXCEPT;
/* Takes one now, due or not. */
STILLPOINT_API stillpoint_code_t stillpoint_checkpointer_checkpoint(stillpoint_checkpointer_t* checkpointer,
                                                                    stillpoint_result_t* result) STILLPOINT_NOEXCEPT;

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* STILLPOINT_STILLPOINT_H_ */
