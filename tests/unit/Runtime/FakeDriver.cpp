//===- FakeDriver.cpp - A driver library for tests, without a GPU
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// FRESNEL_FAKE names what fails: "no-symbol", "old-driver", "no-device",
// "old-gpu", "bad-ptx", "no-memory", "clear", "map", "launch", "no-context" (until one is
// set), "other-context", "cuda-12.2" (a driver of that version), "two-devices". With "writes" or
// "writes-most" memory is real, and the first launch after a fill of outputs sets
// all of it, or all but the last 16 bytes of each, to one value; an event's time is 0.25 ms.
// FakeDriver_* report what the library was asked to do.
//
//===----------------------------------------------------------------------===//

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {
bool fails(const char *what) {
  const char *chosen = std::getenv("FRESNEL_FAKE");
  return chosen && std::strcmp(chosen, what) == 0;
}
int handle, secondContext;
int launches, dependentLaunches, clears, encodedMaps, allocations, releases;
void *current;
uint64_t firstParams[4], cleared[2];
/// A launch does not say how many parameters it has.
int watchedParams;

int init(unsigned) { return fails("no-device") ? 100 : 0; }
int driverVersion(int *version) {
  return *version = fails("old-driver") ? 11080 : fails("cuda-12.2") ? 12020 : 13000, 0;
}
int errorName(int error, const char **text) {
  return *text = error == 100   ? "CUDA_ERROR_NO_DEVICE"
                 : error == 218 ? "CUDA_ERROR_INVALID_PTX"
                 : error == 2   ? "CUDA_ERROR_OUT_OF_MEMORY"
                                : "CUDA_ERROR_LAUNCH_FAILED",
         0;
}
int errorString(int, const char **text) { return *text = "text of the driver", 0; }
int deviceCount(int *count) { return *count = fails("two-devices") ? 2 : 1, 0; }
int deviceGet(int *device, int ordinal) {
  int count = 0;
  deviceCount(&count);
  return *device = ordinal, ordinal >= 0 && ordinal < count ? 0 : 101;
}
int deviceName(char *name, int, int) { return std::strcpy(name, "Fake GPU"), 0; }
int deviceAttribute(int *value, int attribute, int) {
  *value = attribute == 75 ? (fails("old-gpu") ? 8 : 9) : attribute == 76 ? 0 : attribute == 16 ? 132 : 232448;
  return 0;
}
int totalMemory(size_t *bytes, int) { return *bytes = size_t(1) << 30, 0; }
int retain(void **context, int device) { return *context = device == 0 ? &handle : &secondContext, 0; }
int release(int) { return ++releases, 0; }
int getCurrent(void **context) {
  *context = current ? current : fails("no-context") ? nullptr : fails("other-context") ? &launches : &handle;
  return 0;
}
int setCurrent(void *context) { return current = context, 0; }
int ignore() { return 0; }
int memoryInfo(size_t *available, size_t *total) { return *available = 5u << 20, *total = 16u << 20, 0; }
bool isMemoryReal() { return fails("writes") || fails("writes-most"); }
/// Memory that was filled and that no kernel has written since.
std::map<uint64_t, size_t> filled;
int allocate(uint64_t *pointer, size_t bytes) {
  ++allocations;
  if (isMemoryReal())
    return *pointer = reinterpret_cast<uint64_t>(std::aligned_alloc(256, (bytes + 255) / 256 * 256)), 0;
  // No two at one address.
  static std::atomic<uint64_t> next{0x10000};
  return *pointer = next.fetch_add((bytes / 256 + 1) * 256), fails("no-memory") ? 2 : 0;
}
int loadData(void **library, const void *, int *options, void **values, unsigned count, int *, void **, unsigned) {
  for (unsigned i = 0; i < count; ++i)
    if (options[i] == 5 && fails("bad-ptx"))
      std::strcpy(static_cast<char *>(values[i]), "line 1; fatal: not PTX");
  return *library = &handle, fails("bad-ptx") ? 218 : 0;
}
int getKernel(void **kernel, void *, const char *) { return *kernel = &handle, 0; }
int kernelAttribute(int *value, int, void *, int) { return *value = 0, 0; }
int freeMemory(uint64_t pointer) {
  if (isMemoryReal())
    std::free(reinterpret_cast<void *>(pointer));
  return filled.erase(pointer), 0;
}
int copy(void *target, const void *source, size_t bytes) {
  if (isMemoryReal())
    std::memcpy(target, source, bytes);
  return 0;
}
int fill(uint64_t pointer, unsigned char value, size_t bytes) {
  if (!isMemoryReal())
    return 0;
  std::memset(reinterpret_cast<void *>(pointer), value, bytes);
  return filled[pointer] = bytes, 0;
}
int elapsed(float *milliseconds, void *, void *) { return *milliseconds = 0.25f, 0; }
int clear(uint64_t pointer, unsigned char value, size_t bytes, void *) {
  ++clears;
  cleared[0] = pointer;
  cleared[1] = value ? 0 : bytes;
  return fails("clear") ? 700 : 0;
}
/// The map's first bytes are the address, the next ones the strides.
int encodeMap(void *map, int, uint32_t, void *address, const uint64_t *, const uint64_t *strides, const uint32_t *,
              const uint32_t *, int, int, int, int) {
  ++encodedMaps;
  std::memset(map, 0, 128);
  std::memcpy(map, &address, 8);
  std::memcpy(static_cast<char *>(map) + 8, strides, 24);
  return fails("map") ? 1 : 0;
}
/// CUlaunchConfig of cuda.h, and the start of an attribute.
struct LaunchAttribute {
  int id, pad, value;
};
struct LaunchConfig {
  unsigned grid[3], block[3], sharedBytes;
  void *stream;
  const LaunchAttribute *attributes;
  unsigned attributeCount;
};
int launch(const LaunchConfig *config, void *, void **params, void **) {
  ++launches;
  dependentLaunches += config->attributeCount == 1 && config->attributes->id == 6 && config->attributes->value == 1;
  if (isMemoryReal()) {
    for (auto [pointer, bytes] : filled)
      std::memset(reinterpret_cast<void *>(pointer), 0x3C, fails("writes") || bytes < 16 ? bytes : bytes - 16);
    return filled.clear(), 0;
  }
  for (int i = 0; i < watchedParams; ++i)
    std::memcpy(&firstParams[i], params[i], 8);
  return fails("launch") ? 719 : 0;
}

template <typename Function>
void *address(Function function) {
  return reinterpret_cast<void *>(function);
}
} // namespace

EXPORT int FakeDriver_launches() { return launches; }
EXPORT int FakeDriver_dependentLaunches() { return dependentLaunches; }
EXPORT int FakeDriver_clears() { return clears; }
EXPORT int FakeDriver_encodedMaps() { return encodedMaps; }
EXPORT void *FakeDriver_context() { return current; }
EXPORT int FakeDriver_releases() { return releases; }
EXPORT int FakeDriver_allocations() { return allocations; }
EXPORT uint64_t FakeDriver_cleared(int index) { return cleared[index]; }
/// Keeps the first parameters of every launch from now on, at most four; all kernels must have that many.
EXPORT void FakeDriver_watchParams(int count) { watchedParams = count; }
EXPORT uint64_t FakeDriver_param(int index) { return firstParams[index]; }

EXPORT int cuGetProcAddress_v2(const char *symbol, void **found, int, uint64_t, int *) {
  std::string name = symbol;
  struct Entry {
    const char *name;
    void *function;
  };
  static const Entry entries[] = {
      {"cuInit", address(init)},
      {"cuDriverGetVersion", address(driverVersion)},
      {"cuGetErrorName", address(errorName)},
      {"cuGetErrorString", address(errorString)},
      {"cuDeviceGetCount", address(deviceCount)},
      {"cuDeviceGet", address(deviceGet)},
      {"cuDeviceGetName", address(deviceName)},
      {"cuDeviceGetAttribute", address(deviceAttribute)},
      {"cuDeviceTotalMem", address(totalMemory)},
      {"cuDevicePrimaryCtxRetain", address(retain)},
      {"cuDevicePrimaryCtxRelease", address(release)},
      {"cuCtxGetCurrent", address(getCurrent)},
      {"cuCtxSetCurrent", address(setCurrent)},
      {"cuMemGetInfo", address(memoryInfo)},
      {"cuMemAlloc", address(allocate)},
      {"cuLibraryLoadData", address(loadData)},
      {"cuLibraryGetKernel", address(getKernel)},
      {"cuKernelGetAttribute", address(kernelAttribute)},
      {"cuMemsetD8Async", address(clear)},
      {"cuLaunchKernelEx", address(launch)},
      {"cuTensorMapEncodeTiled", address(encodeMap)},
      {"cuMemFree", address(freeMemory)},
      {"cuMemcpyHtoD", address(copy)},
      {"cuMemcpyDtoH", address(copy)},
      {"cuMemsetD8", address(fill)},
      {"cuEventElapsedTime", address(elapsed)},
  };
  *found = name == "cuLibraryLoadData" && fails("no-symbol") ? nullptr : address(ignore);
  if (*found)
    for (const Entry &entry : entries)
      if (name == entry.name)
        *found = entry.function;
  return 0;
}
