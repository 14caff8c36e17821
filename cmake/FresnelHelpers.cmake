# The only place that knows how targets of this project are compiled, linked,
# tested and installed. Every CMakeLists.txt below uses these functions.

find_program(FRESNEL_CCACHE ccache)
if(FRESNEL_CCACHE)
  # The sloppiness is what lets ccache serve files compiled with a precompiled header.
  set(_launcher ${CMAKE_COMMAND} -E env
      "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime" ${FRESNEL_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${_launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${_launcher})
endif()

add_compile_options(-Wall -Wextra -Wno-unused-parameter)
add_compile_definitions(FRESNEL_VERSION="${PROJECT_VERSION}")
if(FRESNEL_SANITIZE)
  # Without run-time type information there is nothing for `vptr` to look at.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined
                      -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # The driver's functions are found by name and called through types of our own for its opaque ones.
    add_compile_options(-fno-sanitize=function)
  endif()
  add_link_options(-fsanitize=address,undefined)
endif()
if(FRESNEL_FUZZ)
  # Coverage of our own code guides libFuzzer; MLIR is not instrumented.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# fresnel_add_library(<name> COMPONENT Runtime|Compiler ROOT <include root> SOURCES ... [LINK ...] [PRIVATE_LINK ...] [DEPENDS ...])
# ROOT is the top-level folder (dialects, compiler or runtime) whose headers the library's users include.
function(fresnel_add_library name)
  cmake_parse_arguments(A "" "COMPONENT;ROOT" "SOURCES;LINK;PRIVATE_LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  add_library(Fresnel::${name} ALIAS ${name})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/${A_ROOT}>
    $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/${A_ROOT}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${name} PUBLIC ${A_LINK} PRIVATE ${A_PRIVATE_LINK})
  if(A_DEPENDS)
    add_dependencies(${name} ${A_DEPENDS})
  endif()
  if(A_COMPONENT STREQUAL Runtime)
    # Not in the compiler: MLIR finds a type's identity through inline
    # variables, which must be one and the same in libMLIR and in the program.
    set_target_properties(${name} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  else()
    target_compile_options(${name} PRIVATE -fno-rtti -fno-exceptions)
    target_link_libraries(${name} PUBLIC FresnelMLIR)
    if(TARGET FresnelPch)
      target_precompile_headers(${name} REUSE_FROM FresnelPch)
    endif()
  endif()
  set_property(GLOBAL APPEND PROPERTY FRESNEL_COMPONENTS ${A_COMPONENT})
  install(TARGETS ${name} EXPORT Fresnel${A_COMPONENT}Targets COMPONENT ${A_COMPONENT}
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

# fresnel_add_tool(<name> COMPONENT Runtime|Compiler SOURCES ... LINK ...)
function(fresnel_add_tool name)
  cmake_parse_arguments(A "" "COMPONENT" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE ${A_LINK})
  if(A_COMPONENT STREQUAL Compiler)
    target_compile_options(${name} PRIVATE -fno-rtti)
    target_link_libraries(${name} PRIVATE FresnelMLIR)
    if(FRESNEL_STATIC)
      target_link_options(${name} PRIVATE -Wl,--gc-sections -s)
    endif()
  endif()
  install(TARGETS ${name} COMPONENT ${A_COMPONENT} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# fresnel_add_unittest(<name> SOURCES ... LINK ...): one GoogleTest executable registered with CTest.
function(fresnel_add_unittest name)
  cmake_parse_arguments(A "COMPILER" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/unit)
  target_link_libraries(${name} PRIVATE ${A_LINK} GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE FRESNEL_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(A_COMPILER)
    target_compile_options(${name} PRIVATE -fno-rtti)
    target_link_libraries(${name} PRIVATE FresnelMLIR)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_property(GLOBAL APPEND PROPERTY FRESNEL_UNITTESTS ${name})
endfunction()

# fresnel_install_package(): headers, export sets and FresnelConfig.cmake.
function(fresnel_install_package)
  include(CMakePackageConfigHelpers)
  set(dir ${CMAKE_INSTALL_LIBDIR}/cmake/Fresnel)
  set(roots_Runtime runtime)
  set(roots_Compiler dialects compiler)
  get_property(components GLOBAL PROPERTY FRESNEL_COMPONENTS)
  list(REMOVE_DUPLICATES components)
  foreach(component IN LISTS components)
    foreach(root IN LISTS roots_${component})
      install(DIRECTORY ${PROJECT_SOURCE_DIR}/${root}/fresnel ${PROJECT_BINARY_DIR}/${root}/fresnel
              DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT ${component}
              FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp" PATTERN "*.h.inc" PATTERN "*.def" PATTERN "*.td" PATTERN "CMakeFiles" EXCLUDE)
    endforeach()
    install(EXPORT Fresnel${component}Targets NAMESPACE Fresnel:: DESTINATION ${dir} COMPONENT ${component})
  endforeach()
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/FresnelConfig.cmake.in
    ${PROJECT_BINARY_DIR}/FresnelConfig.cmake INSTALL_DESTINATION ${dir})
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/FresnelConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/FresnelConfig.cmake ${PROJECT_BINARY_DIR}/FresnelConfigVersion.cmake
          DESTINATION ${dir} COMPONENT Runtime)
endfunction()
