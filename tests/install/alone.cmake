# cmake -DSOURCE=<this repository> -DSCRATCH=<folder> -DGENERATOR=<name> -P alone.cmake
# Configures and builds what needs no MLIR, with its tests, as the preset `runtime-only` does, and runs one of them.
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT code EQUAL 0)
    string(REPLACE ";" " " command "${ARGV}")
    message(FATAL_ERROR "${command}\nexit code ${code}\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${SCRATCH})
run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${SOURCE} -B ${SCRATCH} -DFRESNEL_BUILD_COMPILER=OFF
    -DMLIR_DIR=${SCRATCH}/no-mlir)
run(${CMAKE_COMMAND} --build ${SCRATCH})
run(${SCRATCH}/tests/unit/RuntimeTest)
