//===- FakeDriver.cpp - A driver library for tests, without a GPU
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// FRESNEL_FAKE names what fails: "no-symbol", "old-driver", "no-device",
// "old-gpu", "bad-ptx", "no-memory", "clear", "launch", "no-context" (until one is
// set), "other-context".
// FakeDriver_* report what the library was asked to do.
//
//===----------------------------------------------------------------------===//

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {
bool fails(const char *what) {
  const char *chosen = std::getenv("FRESNEL_FAKE");
  return chosen && std::strcmp(chosen, what) == 0;
}
int handle;
int launches, allocations, releases;
void *current;
uint64_t firstParams[4], cleared[2];

int init(unsigned) { return fails("no-device") ? 100 : 0; }
int driverVersion(int *version) { return *version = fails("old-driver") ? 11080 : 13000, 0; }
int errorName(int error, const char **text) {
  return *text = error == 100   ? "CUDA_ERROR_NO_DEVICE"
                 : error == 218 ? "CUDA_ERROR_INVALID_PTX"
                 : error == 2   ? "CUDA_ERROR_OUT_OF_MEMORY"
                                : "CUDA_ERROR_LAUNCH_FAILED",
         0;
}
int errorString(int, const char **text) { return *text = "text of the driver", 0; }
int deviceCount(int *count) { return *count = 1, 0; }
int deviceGet(int *device, int ordinal) { return *device = ordinal, ordinal == 0 ? 0 : 101; }
int deviceName(char *name, int, int) { return std::strcpy(name, "Fake GPU"), 0; }
int deviceAttribute(int *value, int attribute, int) {
  *value = attribute == 75 ? (fails("old-gpu") ? 8 : 9) : attribute == 76 ? 0 : attribute == 16 ? 132 : 232448;
  return 0;
}
int totalMemory(size_t *bytes, int) { return *bytes = size_t(1) << 30, 0; }
int retain(void **context, int) { return *context = &handle, 0; }
int release(int) { return ++releases, 0; }
int getCurrent(void **context) {
  *context = current ? current : fails("no-context") ? nullptr : fails("other-context") ? &launches : &handle;
  return 0;
}
int setCurrent(void *context) { return current = context, 0; }
int ignore() { return 0; }
int memoryInfo(size_t *available, size_t *total) { return *available = 5u << 20, *total = 16u << 20, 0; }
int allocate(uint64_t *pointer, size_t) {
  ++allocations;
  return *pointer = 0x10000, fails("no-memory") ? 2 : 0;
}
int loadData(void **library, const void *, int *options, void **values, unsigned count, int *, void **, unsigned) {
  for (unsigned i = 0; i < count; ++i)
    if (options[i] == 5 && fails("bad-ptx"))
      std::strcpy(static_cast<char *>(values[i]), "line 1; fatal: not PTX");
  return *library = &handle, fails("bad-ptx") ? 218 : 0;
}
int getKernel(void **kernel, void *, const char *) { return *kernel = &handle, 0; }
int kernelAttribute(int *value, int, void *, int) { return *value = 0, 0; }
int clear(uint64_t pointer, unsigned char value, size_t bytes, void *) {
  cleared[0] = pointer;
  cleared[1] = value ? 0 : bytes;
  return fails("clear") ? 700 : 0;
}
int launch(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **params,
           void **) {
  ++launches;
  for (int i = 0; i < 4; ++i)
    std::memcpy(&firstParams[i], params[i], 8);
  return fails("launch") ? 719 : 0;
}

template <typename Function>
void *address(Function function) {
  return reinterpret_cast<void *>(function);
}
} // namespace

EXPORT int FakeDriver_launches() { return launches; }
EXPORT void *FakeDriver_context() { return current; }
EXPORT int FakeDriver_releases() { return releases; }
EXPORT int FakeDriver_allocations() { return allocations; }
EXPORT uint64_t FakeDriver_cleared(int index) { return cleared[index]; }
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
      {"cuLaunchKernel", address(launch)},
  };
  *found = name == "cuLibraryLoadData" && fails("no-symbol") ? nullptr : address(ignore);
  if (*found)
    for (const Entry &entry : entries)
      if (name == entry.name)
        *found = entry.function;
  return 0;
}
