# cmake -DSOURCE=<this repository> -DSCRATCH=<folder> -DGENERATOR=<name> -P alone.cmake
# Configures and builds what needs no MLIR, with its tests, as the preset `runtime-only` does, and runs one of them.
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

file(REMOVE_RECURSE ${SCRATCH})
run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${SOURCE} -B ${SCRATCH} -DFRESNEL_BUILD_COMPILER=OFF
    -DMLIR_DIR=${SCRATCH}/no-mlir)
run(${CMAKE_COMMAND} --build ${SCRATCH})
run(${SCRATCH}/tests/unit/RuntimeTest)
