/* Counts primes, in C11, and can be killed at any time.
 *
 *   c_loop DIR [LIMIT] [EVERY]     primes below LIMIT, a checkpoint into DIR every EVERY numbers
 *   stillpoint restart DIR         goes on from the last checkpoint
 *
 * The last line is the same however often it was killed and restarted. */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <stillpoint/stillpoint.h>

struct progress {
  uint64_t number; /* the next to look at */
  uint64_t primes; /* below it */
  uint64_t digest; /* of all of them, in order */
};

static int is_prime(uint64_t number) {
  if (number < 2) return 0;
  for (uint64_t divisor = 2; divisor * divisor <= number; ++divisor) {
    if (number % divisor == 0) return 0;
  }
  return 1;
}

static void look_at(struct progress* progress) {
  if (is_prime(progress->number)) {
    ++progress->primes;
    progress->digest = (progress->digest ^ progress->number) * UINT64_C(0x100000001b3); /* FNV-1a */
  }
  ++progress->number;
}

/* A hook: what the program has printed is on its way before its state is saved. */
static int flush_output(void* stream, char* error, size_t error_size) {
  if (fflush(stream) == 0) return 0;
  snprintf(error, error_size, "fflush failed");
  return 1;
}

/* A checkpoint that fails costs the program nothing but a line: it goes on. */
static void checkpoint(const char* directory, const struct progress* progress) {
  stillpoint_result_t result = STILLPOINT_RESULT_INIT;
  if (stillpoint_checkpoint(directory, NULL, &result) != STILLPOINT_OK) {
    fprintf(stderr, "no checkpoint at %" PRIu64 ": %s\n", progress->number, stillpoint_error_text());
    for (size_t i = 0; i < stillpoint_finding_count(); ++i) {
      stillpoint_finding_t finding = STILLPOINT_FINDING_INIT;
      if (stillpoint_finding_get(i, &finding) != STILLPOINT_OK) break;
      fprintf(stderr, "  %s %s: %s; %s\n", finding.code, finding.object, finding.reason, finding.remedy);
    }
    return;
  }
  switch (result.outcome) {
    case STILLPOINT_OUTCOME_RESUMED:
      printf("checkpoint at %" PRIu64 ": %s, pause %.1f ms\n", progress->number, result.image_path,
             (double)result.pause_ns / 1e6);
      break;
    case STILLPOINT_OUTCOME_RESTORED:
      printf("restored at %" PRIu64 " from %s\n", progress->number, result.image_path);
      break;
    default:
      break;
  }
}

static int parse(const char* text, uint64_t* number) {
  char* end = NULL;
  const unsigned long long value = strtoull(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || value == 0) return 0;
  *number = value;
  return 1;
}

int main(int argc, char** argv) {
  uint64_t limit = 2000000, every = 250000;
  if (argc < 2 || argc > 4 || (argc > 2 && !parse(argv[2], &limit)) || (argc > 3 && !parse(argv[3], &every))) {
    fprintf(stderr, "usage: %s DIR [LIMIT] [EVERY]\n", argv[0]);
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0); /* a killed process loses what it has not written */

  stillpoint_hooks_t hooks = STILLPOINT_HOOKS_INIT;
  uint64_t registration = 0;
  hooks.name = "flush output";
  hooks.pre_dump = flush_output;
  hooks.user_data = stdout;
  if (stillpoint_hooks_register(&hooks, &registration) != STILLPOINT_OK) return 1;

  struct progress progress = {0, 0, UINT64_C(0xcbf29ce484222325)};
  while (progress.number < limit) {
    look_at(&progress);
    if (progress.number % every == 0 && progress.number < limit) checkpoint(argv[1], &progress);
  }
  stillpoint_hooks_unregister(registration);
  printf("%" PRIu64 " primes below %" PRIu64 ", digest %016" PRIx64 "\n", progress.primes, limit, progress.digest);
  return 0;
}
