//===- Driver.h - The CUDA driver, found at run time
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_RUNTIME_DRIVER_H
#define FRESNEL_RUNTIME_DRIVER_H

#include "fresnel/Artifact/Status.h"
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

/// The driver's handles, as cuda.h declares them: no toolkit is needed to build.
struct CUctx_st;
struct CUstream_st;
struct CUlib_st;
struct CUevent_st;
struct CUkern_st;
struct CUgraph_st;
struct CUgraphExec_st;

namespace fresnel::rt {

using CuDevice = int;
using CuContext = CUctx_st *;
using CuStream = CUstream_st *;
using CuLibrary = CUlib_st *;
using CuEvent = CUevent_st *;
using CuKernel = CUkern_st *;
using CuGraph = CUgraph_st *;
using CuGraphExec = CUgraphExec_st *;

/// cuda.h's CUlaunchAttribute and CUlaunchConfig; of the attribute's 64 bytes of
/// value only the integer that is used.
struct CuLaunchAttribute {
  int id = 0;
  alignas(8) int value = 0;
  char rest[60] = {};
};
struct CuLaunchConfig {
  unsigned grid[3] = {1, 1, 1}, block[3] = {1, 1, 1}, sharedBytes = 0;
  CuStream stream = nullptr;
  CuLaunchAttribute *attributes = nullptr;
  unsigned attributeCount = 0;
};
static_assert(sizeof(CuLaunchAttribute) == 72 && sizeof(CuLaunchConfig) == 56, "layouts of cuda.h");

struct DeviceInfo {
  int ordinal = 0;
  std::string name;
  int computeMajor = 0, computeMinor = 0, multiprocessors = 0;
  /// Shared memory that one block can opt in to, and device memory, in bytes.
  int64_t sharedBytes = 0, memoryBytes = 0;
};

/// The entry points of libcuda. Immutable after `load`, hence thread-safe.
class Driver {
public:
  /// Opens libcuda.so.1, or the library that FRESNEL_CUDA_DRIVER names, and
  /// initialises it. NoDriver where there is none, DriverTooOld before CUDA 12.0.
  static Expected<std::shared_ptr<Driver>> load();
  ~Driver();
  Driver(const Driver &) = delete;
  Driver &operator=(const Driver &) = delete;

  /// CUDA version that the driver supports: major * 1000 + minor * 10.
  int version() const { return cudaVersion; }
  /// GPUs that this process sees, which are numbered from 0. CudaError with the driver's text.
  Expected<int> countDevices() const;
  /// CudaError for a number past the last GPU's.
  Expected<DeviceInfo> describe(int ordinal) const;

  /// Ok, or the driver's name and text of the error after `what`.
  Status check(int error, const std::string &what) const;

#define FRESNEL_DRIVER_FUNCTION(name, version, parameters) int(*name) parameters = nullptr;
#include "fresnel/Runtime/Driver.def"
#undef FRESNEL_DRIVER_FUNCTION

private:
  Driver() = default;
  Status resolve();

  void *library = nullptr;
  int cudaVersion = 0;
};

/// Makes a device's primary context current on this thread, while it lives. It ends on the thread that made it.
class ContextScope {
public:
  /// Retains the context until the scope ends; CudaError with the driver's text.
  static Expected<std::unique_ptr<ContextScope>> enter(std::shared_ptr<Driver> driver, int device);
  ~ContextScope();

private:
  ContextScope(std::shared_ptr<Driver> driver, int device) : driver(std::move(driver)), device(device) {}
  std::shared_ptr<Driver> driver;
  int device;
};

/// Device memory of the current context, which must be current again when it is freed. One thread may use it at a time.
class DeviceBuffer {
public:
  DeviceBuffer() = default;
  /// OutOfMemory says how much was asked for and how much there was.
  static Expected<DeviceBuffer> allocate(std::shared_ptr<Driver> driver, size_t bytes);
  DeviceBuffer(DeviceBuffer &&other) noexcept;
  DeviceBuffer &operator=(DeviceBuffer &&other) noexcept;
  ~DeviceBuffer();

  /// The address on the device, aligned to 256 bytes; null without an allocation.
  void *data() const { return reinterpret_cast<void *>(pointer); }
  /// Of the first `bytes`, no more than were allocated: copies, which are done on return, and a fill in order with the
  /// default stream. CudaError with the driver's text, also that of earlier work.
  Status upload(const void *source, size_t bytes);
  Status download(void *target, size_t bytes) const;
  Status fill(unsigned char value, size_t bytes);

private:
  std::shared_ptr<Driver> driver;
  uint64_t pointer = 0;
};

} // namespace fresnel::rt

#endif // FRESNEL_RUNTIME_DRIVER_H
