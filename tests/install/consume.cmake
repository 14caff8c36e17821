# cmake -DSOURCE=<consumer> -DBUILD=<build to install> -DSCRATCH=<folder> -DCOMPONENTS=A|B -P consume.cmake
# Installs COMPONENTS of BUILD below SCRATCH, builds SOURCE against them, runs it.
include(${CMAKE_CURRENT_LIST_DIR}/run.cmake)

file(REMOVE_RECURSE ${SCRATCH})
string(REPLACE "|" ";" components "${COMPONENTS}")
foreach(component IN LISTS components)
  run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${SCRATCH}/prefix --component ${component})
endforeach()
set(arguments -G ${GENERATOR} -S ${SOURCE} -B ${SCRATCH}/build -DCMAKE_PREFIX_PATH=${SCRATCH}/prefix)
if(MLIR_DIR)
  list(APPEND arguments -DMLIR_DIR=${MLIR_DIR})
endif()
run(${CMAKE_COMMAND} ${arguments})
run(${CMAKE_COMMAND} --build ${SCRATCH}/build)
run(${SCRATCH}/build/consumer)
message(STATUS "consumer: ${output}")
