//===- Clocks.cpp - What the GPU's clock does while kernels are timed -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Clocks.h"

#include <dlfcn.h>

namespace fresnel::tool {

// Values of nvml.h.
static constexpr unsigned kClockSm = 1;
static constexpr unsigned long long kHardwareSlowdown = 0x8, kSoftwareThermal = 0x20, kHardwareThermal = 0x40,
                                    kPowerBrake = 0x80;

template <typename Function>
static Function find(void *library, const char *name) {
  return library ? reinterpret_cast<Function>(dlsym(library, name)) : nullptr;
}

Clocks::Clocks(const std::string &busId) {
  library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  auto init = find<int (*)()>(library, "nvmlInit_v2");
  auto get = find<int (*)(const char *, void **)>(library, "nvmlDeviceGetHandleByPciBusId_v2");
  if (!init || !get || init() != 0 || get(busId.c_str(), &device) != 0)
    device = nullptr;
}

Clocks::~Clocks() {
  if (library)
    dlclose(library);
}

int64_t Clocks::read() const {
  auto get = find<int (*)(void *, unsigned, unsigned *)>(device ? library : nullptr, "nvmlDeviceGetClockInfo");
  unsigned mhz = 0;
  return get && get(device, kClockSm, &mhz) == 0 ? int64_t(mhz) : 0;
}

bool Clocks::isThrottled() const {
  auto get = find<int (*)(void *, unsigned long long *)>(device ? library : nullptr,
                                                         "nvmlDeviceGetCurrentClocksThrottleReasons");
  unsigned long long reasons = 0;
  return get && get(device, &reasons) == 0 &&
         (reasons & (kHardwareSlowdown | kSoftwareThermal | kHardwareThermal | kPowerBrake));
}

} // namespace fresnel::tool
