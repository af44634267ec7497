#include <stdio.h>
#include <stillpoint/stillpoint.h>

int main(void) {
  stillpoint_options_t options = STILLPOINT_OPTIONS_INIT;
  stillpoint_result_t result = STILLPOINT_RESULT_INIT;
  options.keep_last = 2;
  if (stillpoint_checkpoint("ckpt", &options, &result) != STILLPOINT_OK) {
    printf("%s\n", stillpoint_error_text());
    return 1;
  }
  printf("outcome %d\n", (int)result.outcome);
  return 0;
}
