//===- Execute.h - Running a method on the CPU or a GPU ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_EXECUTE_H
#define FRESNEL_TOOLS_EXECUTE_H

#include "Tensors.h"

#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/Tuning/Record.h"

#include <string>
#include <vector>

namespace fresnel::tool {

/// Reads and checks a bundle; fails with ExitUsage when there is no such file and
/// ExitFormat when it is damaged.
rt::Bundle openBundle(const std::string &path);

/// The dtype of a type of the dialect.
rt::DType dtypeOf(mlir::Type element);

/// A random input of the program: normally distributed values, or indices that its
/// operations accept, -1 among them.
HostTensor randomInput(ProgramOp program, unsigned index, uint64_t seed);

/// All of them.
std::vector<HostTensor> randomInputs(ProgramOp program, uint64_t seed);

/// Runs `program` with the interpreter. Tensors are in logical order
/// ([B, H, N, D]); results are f32 or i32.
std::vector<HostTensor> runOnCpu(ProgramOp program, const std::vector<HostTensor> &inputs);

/// Number of GPUs; 0 also when there is no driver.
int countGpus();

/// Runs a bundle on GPU `device`, outputs filled with NaN bytes first. With
/// `sequenceMajor` the GPU's buffers are [B, N, H, D], else [B, H, N, D]; the
/// tensors here are in logical order. Fails with ExitEnvironment when the GPU or
/// the driver cannot do it. With gradients both plans run, one after the other.
/// With `repeat` > 0 they are launched that often once more, back to back, and
/// `secondsPerRun` is set to the mean.
std::vector<HostTensor> runOnGpu(const rt::Bundle &bundle, int device, bool sequenceMajor,
                                 const std::vector<HostTensor> &inputs, int repeat, double &secondsPerRun);

/// The target whose code is best for a device class: its own architecture's, or the
/// newest that is not newer.
std::string targetFor(const rt::DeviceClass &device);

/// The class of GPU `device`, by which tuning databases know it.
rt::DeviceClass deviceClassOf(int device);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_EXECUTE_H
