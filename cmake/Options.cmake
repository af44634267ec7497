# Build options. Everything a packager may want to turn is here and nowhere else.
option(STILLPOINT_BENCHMARKS "Build bench/ (needs Google Benchmark)" ON)
option(STILLPOINT_TEST_SWITCHES
       "Honour STILLPOINT_DISABLE and STILLPOINT_DIE_AT in the helper (test builds only)" ${BUILD_TESTING})
set(STILLPOINT_SANITIZE "" CACHE STRING
    "Sanitizers for SDK, CLI and helper, e.g. address,undefined (never for checkpointed programs)")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
if(NOT CMAKE_SIZEOF_VOID_P EQUAL 8 OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  message(FATAL_ERROR "Stillpoint supports Linux on x86-64; this is ${CMAKE_SYSTEM_NAME} on ${CMAKE_SYSTEM_PROCESSOR}")
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
