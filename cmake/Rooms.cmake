# stillpoint_room(NAME SOURCES ... PROTOS ... DEPENDS ...)
# One room of the helper: a static library named stillpoint_NAME, its messages generated beside it.
# Includes are written from the repository root: "helper/base/unique_fd.h", "helper/model/model.pb.h".
function(stillpoint_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;PROTOS;DEPENDS" ${ARGN})
  set(generated "")
  foreach(proto ${ROOM_PROTOS})
    get_filename_component(stem ${proto} NAME_WE)
    file(RELATIVE_PATH room_path ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
    set(base ${PROJECT_BINARY_DIR}/${room_path}/${stem})
    add_custom_command(
      OUTPUT ${base}.pb.cc ${base}.pb.h
      COMMAND protobuf::protoc --cpp_out=${PROJECT_BINARY_DIR} -I ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      VERBATIM)
    list(APPEND generated ${base}.pb.cc ${base}.pb.h)
    # What protoc generates is not ours to keep warning-free.
    set_source_files_properties(${base}.pb.cc PROPERTIES COMPILE_OPTIONS "-w")
  endforeach()
  add_library(stillpoint_${name} STATIC ${ROOM_SOURCES} ${generated})
  target_include_directories(stillpoint_${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  target_include_directories(stillpoint_${name} SYSTEM PUBLIC ${PROJECT_BINARY_DIR})
  target_link_libraries(stillpoint_${name} PUBLIC ${ROOM_DEPENDS} PRIVATE stillpoint_warnings)
  if(STILLPOINT_TEST_SWITCHES)
    target_compile_definitions(stillpoint_${name} PRIVATE STILLPOINT_TEST_SWITCHES=1)
  endif()
endfunction()

# stillpoint_test(NAME SOURCES ... DEPENDS ...): a GoogleTest executable, entered into CTest case by case.
function(stillpoint_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT" "SOURCES;DEPENDS" ${ARGN})
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 120)
  endif()
  math(EXPR TEST_TIMEOUT "${TEST_TIMEOUT} * ${STILLPOINT_TIMEOUT_FACTOR}")
  add_executable(${name} ${TEST_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
  target_include_directories(${name} SYSTEM PRIVATE ${PROJECT_BINARY_DIR})
  target_link_libraries(${name} PRIVATE ${TEST_DEPENDS} GTest::gmock GTest::gtest_main stillpoint_warnings)
  gtest_discover_tests(${name} PROPERTIES TIMEOUT ${TEST_TIMEOUT} DISCOVERY_TIMEOUT 60)
endfunction()
