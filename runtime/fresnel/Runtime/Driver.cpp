//===- Driver.cpp - The CUDA driver, found at run time
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Runtime/Driver.h"
#include <cstdlib>
#include <dlfcn.h>

namespace fresnel::rt {

// Values of cuda.h.
static constexpr int kOutOfMemory = 2;
static constexpr int kMultiprocessorCount = 16, kComputeMajor = 75, kComputeMinor = 76, kSharedOptIn = 97;
static constexpr int kOldestCuda = 12000;

Expected<std::shared_ptr<Driver>> Driver::load() {
  const char *chosen = std::getenv("FRESNEL_CUDA_DRIVER");
  std::string path = chosen && *chosen ? chosen : "libcuda.so.1";
  std::shared_ptr<Driver> driver(new Driver);
  driver->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!driver->library)
    return Status(Code::NoDriver, "no NVIDIA driver: " + std::string(dlerror()) +
                                      "; install the driver, or set FRESNEL_CUDA_DRIVER to its library");
  Status status = driver->resolve();
  if (!status.ok())
    return status;
  status = driver->check(driver->cuInit(0), "cuInit");
  if (!status.ok())
    return Status(Code::NoDriver, status.message());
  status = driver->check(driver->cuDriverGetVersion(&driver->cudaVersion), "cuDriverGetVersion");
  if (!status.ok())
    return status;
  if (driver->cudaVersion < kOldestCuda)
    return Status(Code::DriverTooOld, "the driver supports CUDA " + std::to_string(driver->cudaVersion / 1000) + "." +
                                          std::to_string(driver->cudaVersion % 1000 / 10) +
                                          ", but 12.0 is needed; update the driver");
  return driver;
}

Status Driver::resolve() {
  // One symbol by name; the others through it, in the form of a named version.
  using GetProc = int (*)(const char *, void **, int, uint64_t, int *);
  auto getProc = reinterpret_cast<GetProc>(dlsym(library, "cuGetProcAddress_v2"));
  if (!getProc)
    return Status(Code::DriverTooOld, "the driver has no cuGetProcAddress_v2; CUDA 12.0 or later is needed");
#define FRESNEL_DRIVER_FUNCTION(name, version, parameters)                                                             \
  {                                                                                                                    \
    void *address = nullptr;                                                                                           \
    int found = 0;                                                                                                     \
    if (getProc(#name, &address, version, 0, &found) != 0 || !address)                                                 \
      return Status(Code::DriverTooOld, "the driver has no " #name "; CUDA 12.0 or later is needed");                  \
    name = reinterpret_cast<decltype(name)>(address);                                                                  \
  }
#include "fresnel/Runtime/Driver.def"
#undef FRESNEL_DRIVER_FUNCTION
  return Status();
}

Driver::~Driver() {
  if (library)
    dlclose(library);
}

Status Driver::check(int error, const std::string &what) const {
  if (error == 0)
    return Status();
  const char *name = nullptr, *text = nullptr;
  if (cuGetErrorName)
    cuGetErrorName(error, &name);
  if (cuGetErrorString)
    cuGetErrorString(error, &text);
  return Status(error == kOutOfMemory ? Code::OutOfMemory : Code::CudaError,
                what + " failed: " + (name ? name : "error") + " (" + std::to_string(error) + ")" +
                    (text ? std::string(", ") + text : ""));
}

Expected<int> Driver::countDevices() const {
  int count = 0;
  Status status = check(cuDeviceGetCount(&count), "cuDeviceGetCount");
  if (!status.ok())
    return status;
  return count;
}

Expected<DeviceInfo> Driver::describe(int ordinal) const {
  DeviceInfo info;
  info.ordinal = ordinal;
  CuDevice device = 0;
  Status status = check(cuDeviceGet(&device, ordinal), "cuDeviceGet(" + std::to_string(ordinal) + ")");
  if (!status.ok())
    return status;
  char name[256] = {};
  status = check(cuDeviceGetName(name, sizeof name - 1, device), "cuDeviceGetName");
  if (!status.ok())
    return status;
  info.name = name;
  int shared = 0;
  for (auto [attribute, value] : {std::pair(kComputeMajor, &info.computeMajor),
                                  {kComputeMinor, &info.computeMinor},
                                  {kMultiprocessorCount, &info.multiprocessors},
                                  {kSharedOptIn, &shared}}) {
    status = check(cuDeviceGetAttribute(value, attribute, device), "cuDeviceGetAttribute");
    if (!status.ok())
      return status;
  }
  info.sharedBytes = shared;
  size_t bytes = 0;
  status = check(cuDeviceTotalMem(&bytes, device), "cuDeviceTotalMem");
  if (!status.ok())
    return status;
  info.memoryBytes = int64_t(bytes);
  return info;
}

Expected<std::unique_ptr<ContextScope>> ContextScope::enter(std::shared_ptr<Driver> driver, int device) {
  CuContext context = nullptr;
  Status status = driver->check(driver->cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
  if (!status.ok())
    return status;
  status = driver->check(driver->cuCtxPushCurrent(context), "cuCtxPushCurrent");
  if (!status.ok()) {
    driver->cuDevicePrimaryCtxRelease(device);
    return status;
  }
  return std::unique_ptr<ContextScope>(new ContextScope(std::move(driver), device));
}

ContextScope::~ContextScope() {
  CuContext popped;
  driver->cuCtxPopCurrent(&popped);
  driver->cuDevicePrimaryCtxRelease(device);
}

Expected<DeviceBuffer> DeviceBuffer::allocate(std::shared_ptr<Driver> driver, size_t bytes) {
  uint64_t pointer = 0;
  Status status = driver->check(driver->cuMemAlloc(&pointer, bytes ? bytes : 1), "cuMemAlloc");
  if (status.code() == Code::OutOfMemory) {
    size_t available = 0, total = 0;
    driver->cuMemGetInfo(&available, &total);
    return Status(Code::OutOfMemory, "out of GPU memory: " + std::to_string(bytes >> 20) + " MiB were asked for, " +
                                         std::to_string(available >> 20) + " of " + std::to_string(total >> 20) +
                                         " MiB are free");
  }
  if (!status.ok())
    return status;
  DeviceBuffer buffer;
  buffer.pointer = pointer;
  buffer.driver = std::move(driver);
  return buffer;
}

DeviceBuffer::DeviceBuffer(DeviceBuffer &&other) noexcept
    : driver(std::move(other.driver)), pointer(std::exchange(other.pointer, 0)) {}

DeviceBuffer &DeviceBuffer::operator=(DeviceBuffer &&other) noexcept {
  std::swap(driver, other.driver);
  std::swap(pointer, other.pointer);
  return *this;
}

DeviceBuffer::~DeviceBuffer() {
  if (pointer)
    driver->cuMemFree(pointer);
}

Status DeviceBuffer::upload(const void *source, size_t bytes) {
  return driver->check(driver->cuMemcpyHtoD(pointer, source, bytes), "cuMemcpyHtoD");
}

Status DeviceBuffer::download(void *target, size_t bytes) const {
  return driver->check(driver->cuMemcpyDtoH(target, pointer, bytes), "cuMemcpyDtoH");
}

Status DeviceBuffer::fill(unsigned char value, size_t bytes) {
  return driver->check(driver->cuMemsetD8(pointer, value, bytes), "cuMemsetD8");
}

} // namespace fresnel::rt
