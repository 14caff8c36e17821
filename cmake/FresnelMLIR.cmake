# Finds MLIR 22.1 and defines `FresnelMLIR`, the one interface target through
# which everything links LLVM and MLIR: the two shared libraries by default, the
# archives with FRESNEL_STATIC. The two must never mix in one program: LLVM's
# options would be registered twice.

if(NOT DEFINED MLIR_DIR AND EXISTS /usr/lib/llvm-22/lib/cmake/mlir)
  set(MLIR_DIR /usr/lib/llvm-22/lib/cmake/mlir)
endif()
find_package(ZLIB QUIET)
find_package(MLIR 22.1 CONFIG)
if(NOT MLIR_FOUND)
  message(FATAL_ERROR
    "MLIR 22.1 was not found, and the compiler needs it.\n"
    "  Debian and Ubuntu: apt-get install libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools lld-22\n"
    "  elsewhere: build LLVM 22.1 with -DLLVM_ENABLE_PROJECTS=mlir -DLLVM_TARGETS_TO_BUILD='X86;NVPTX' "
    "and pass -DMLIR_DIR=<prefix>/lib/cmake/mlir\n"
    "  runtime alone: cmake --preset runtime-only")
endif()
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)

include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
# mlir_tablegen reads directory-scope include directories only.
include_directories(${PROJECT_SOURCE_DIR}/dialects ${PROJECT_BINARY_DIR}/dialects
                    ${PROJECT_SOURCE_DIR}/compiler ${PROJECT_BINARY_DIR}/compiler)
set(MLIR_BINARY_DIR ${PROJECT_BINARY_DIR})

add_library(FresnelMLIR INTERFACE)
install(TARGETS FresnelMLIR EXPORT FresnelCompilerTargets COMPONENT Compiler)
if(FRESNEL_STATIC)
  include(FresnelStaticMLIR)
else()
  target_link_libraries(FresnelMLIR INTERFACE MLIR LLVM)
endif()

# One precompiled header for every MLIR-heavy file of the project.
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/pch.cpp CONTENT "// Holds the precompiled header of the compiler.\n")
add_library(FresnelPch OBJECT ${PROJECT_BINARY_DIR}/pch.cpp)
set_target_properties(FresnelPch PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_compile_options(FresnelPch PRIVATE -fno-rtti -fno-exceptions)
target_link_libraries(FresnelPch PRIVATE FresnelMLIR)
target_precompile_headers(FresnelPch PRIVATE
  <mlir/IR/Builders.h> <mlir/IR/BuiltinOps.h> <mlir/IR/BuiltinTypes.h> <mlir/IR/OpImplementation.h>
  <mlir/Dialect/Arith/IR/Arith.h> <mlir/Dialect/SCF/IR/SCF.h> <mlir/Pass/Pass.h>
  <mlir/Transforms/DialectConversion.h> <llvm/ADT/TypeSwitch.h>)
