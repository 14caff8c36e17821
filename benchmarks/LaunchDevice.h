//===- LaunchDevice.h - What a launch costs beside the driver's own calls
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_BENCHMARKS_LAUNCHDEVICE_H
#define FRESNEL_BENCHMARKS_LAUNCHDEVICE_H

/// Times the forward plan of the bundle at `path` on GPU 0 and prints a table: the driver's calls
/// that a launch ends in, repeated without us, are the floor; beside it launches with unchanged and
/// with changing tensors. Gives the exit code.
int timeOnDevice(const char *path);

#endif // FRESNEL_BENCHMARKS_LAUNCHDEVICE_H
