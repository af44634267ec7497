# One interface target carries the warnings, so that no room can forget them. stillpoint_warnings adds the sanitizers, if
# any; stillpoint_target_warnings does not: it is for what is linked into a program that is checkpointed. A sanitizer's
# shadow is terabytes of reserved memory and no state to save.
add_library(stillpoint_target_warnings INTERFACE)
add_library(stillpoint_warnings INTERFACE)
target_link_libraries(stillpoint_warnings INTERFACE stillpoint_target_warnings)
target_compile_options(stillpoint_target_warnings INTERFACE
  -Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> -Wcast-align -Wundef -Wvla
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-missing-field-initializers>
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-missing-field-initializers>)
if(STILLPOINT_SANITIZE)
  add_library(stillpoint_sanitize INTERFACE)
  target_compile_options(stillpoint_sanitize INTERFACE
    -fsanitize=${STILLPOINT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(stillpoint_sanitize INTERFACE -fsanitize=${STILLPOINT_SANITIZE})
  target_link_libraries(stillpoint_warnings INTERFACE stillpoint_sanitize)
endif()
