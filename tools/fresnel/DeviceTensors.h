//===- DeviceTensors.h - The tensors of a bundle on a GPU -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_DEVICETENSORS_H
#define FRESNEL_TOOLS_DEVICETENSORS_H

#include "Common.h"
#include "Tensors.h"

#include "fresnel/Runtime/Plan.h"

#include <memory>

namespace fresnel::tool {

/// Ends the command where the driver or the GPU refuses.
inline void check(const rt::Status &status) {
  if (!status.ok())
    fail(status.code() == rt::Code::Unsupported ? ExitUnsupported : ExitEnvironment, status.message());
}

template <typename T>
T unwrap(rt::Expected<T> value) {
  check(value.status());
  return std::move(*value);
}

/// The driver; fails with ExitEnvironment where there is none, or no such GPU.
std::shared_ptr<rt::Driver> loadDriver(int device);

/// The tensors of a bundle's plans, one per name. With `sequenceMajor` the memory
/// of those of rank 4 is [B, N, H, D], else [B, H, N, D].
class DeviceTensors {
public:
  DeviceTensors(std::shared_ptr<rt::Driver> driver, bool sequenceMajor)
      : driver(std::move(driver)), sequenceMajor(sequenceMajor) {}

  /// Makes what the plan takes and is not there yet: inputs are uploaded, outputs
  /// filled with NaN bytes.
  void add(const rt::PlanHandle &plan, const std::vector<HostTensor> &inputs);
  std::vector<rt::TensorArg> arguments(const rt::PlanHandle &plan) const;
  /// Fills every output with this byte.
  void poison(unsigned char byte);
  /// The outputs in logical order, as they were added.
  std::vector<HostTensor> download() const;

private:
  struct Entry {
    const rt::Buffer *buffer = nullptr;
    rt::DeviceBuffer memory;
    std::vector<int64_t> strides;
    bool swapped = false;
  };
  const Entry *find(const std::string &name) const;

  std::shared_ptr<rt::Driver> driver;
  bool sequenceMajor;
  std::vector<Entry> tensors;
};

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_DEVICETENSORS_H
