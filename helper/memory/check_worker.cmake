# Fails the build when the worker could not run as it is: cmake -DREADELF= -DNM= -DELF= -P check_worker.cmake
execute_process(COMMAND ${READELF} --wide --relocs ${ELF} OUTPUT_VARIABLE relocations RESULT_VARIABLE result)
if(NOT result EQUAL 0 OR relocations MATCHES "R_X86_64_")
  message(FATAL_ERROR "the worker has relocations, which nobody would apply:\n${relocations}")
endif()
execute_process(COMMAND ${NM} --undefined-only ${ELF} OUTPUT_VARIABLE undefined RESULT_VARIABLE result)
if(NOT result EQUAL 0 OR NOT undefined STREQUAL "")
  message(FATAL_ERROR "the worker has undefined symbols:\n${undefined}")
endif()
