# What `cmake --install` puts where. find_package(stillpoint) and pkg-config find it there.
include(CMakePackageConfigHelpers)

install(DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/../include/stillpoint
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT sdk FILES_MATCHING PATTERN "*.h")
install(TARGETS stillpoint_shared stillpoint_static EXPORT stillpointTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sdk
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT sdk)
install(EXPORT stillpointTargets NAMESPACE stillpoint::
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/stillpoint COMPONENT sdk)

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/stillpointConfig.cmake.in
  ${PROJECT_BINARY_DIR}/stillpointConfig.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/stillpoint)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/stillpointConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/stillpointConfig.cmake ${PROJECT_BINARY_DIR}/stillpointConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/stillpoint COMPONENT sdk)

# The prefix as seen from the .pc file, however deep the library directory lies.
file(RELATIVE_PATH STILLPOINT_PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${CMAKE_CURRENT_LIST_DIR}/stillpoint.pc.in ${PROJECT_BINARY_DIR}/stillpoint.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/stillpoint.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT sdk)

if(TARGET stillpoint_helper)
  install(TARGETS stillpoint_helper RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/stillpoint COMPONENT tools)
endif()
if(TARGET stillpoint)
  install(TARGETS stillpoint RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
endif()
