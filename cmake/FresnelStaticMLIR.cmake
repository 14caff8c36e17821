# Links FresnelMLIR to the archives. The imported MLIRxxx targets depend on the
# shared library `LLVM`; its imported location is pointed at an archive instead,
# whose interface lists the component archives that the tools need.

find_package(zstd QUIET)
if(NOT TARGET zstd::libzstd_shared)
  find_library(FRESNEL_ZSTD zstd REQUIRED)
  add_library(zstd::libzstd_shared UNKNOWN IMPORTED)
  set_target_properties(zstd::libzstd_shared PROPERTIES IMPORTED_LOCATION ${FRESNEL_ZSTD})
endif()

llvm_map_components_to_libnames(_llvm_archives
  NVPTX X86 Core Support Passes Target CodeGen AsmParser BitReader BitWriter IRReader Linker MC Analysis
  TransformUtils InstCombine ScalarOpts ipo Vectorize OrcJIT ExecutionEngine TargetParser FrontendOpenMP
  FrontendOffloading PerfJITEvents)
get_target_property(_configurations LLVM IMPORTED_CONFIGURATIONS)
foreach(_configuration IN LISTS _configurations)
  set_target_properties(LLVM PROPERTIES IMPORTED_LOCATION_${_configuration} ${LLVM_LIBRARY_DIR}/libLLVMSupport.a)
endforeach()
set_target_properties(LLVM PROPERTIES INTERFACE_LINK_LIBRARIES "${_llvm_archives}")

get_property(_dialects GLOBAL PROPERTY MLIR_DIALECT_LIBS)
get_property(_conversions GLOBAL PROPERTY MLIR_CONVERSION_LIBS)
get_property(_translations GLOBAL PROPERTY MLIR_TRANSLATION_LIBS)
get_property(_extensions GLOBAL PROPERTY MLIR_EXTENSION_LIBS)
set(_mlir_archives ${_dialects} ${_conversions} ${_translations} ${_extensions} MLIROptLib MLIRLspServerLib)
# MLIR's own test libraries are on its lists and would drag in libMLIR.so.
list(FILTER _mlir_archives EXCLUDE REGEX "Test")
list(REMOVE_DUPLICATES _mlir_archives)
target_link_libraries(FresnelMLIR INTERFACE ${_mlir_archives})
