//===- Clocks.h - What the GPU's clock does while kernels are timed ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_CLOCKS_H
#define FRESNEL_TOOLS_CLOCKS_H

#include <cstdint>
#include <string>

namespace fresnel::tool {

/// Reads one GPU's clock through NVML, found at run time. Where there is none
/// (containers often lack it) everything reads as unknown.
class Clocks {
public:
  /// `busId` as the driver prints it: "0000:3B:00.0".
  explicit Clocks(const std::string &busId);
  ~Clocks();
  Clocks(const Clocks &) = delete;
  Clocks &operator=(const Clocks &) = delete;

  /// SM clock in MHz; 0 if unknown.
  int64_t read() const;
  /// The hardware holds the clock down: heat, or a power brake. The usual power
  /// limit is no such case: every kernel runs under it.
  bool isThrottled() const;

private:
  void *library = nullptr;
  void *device = nullptr;
};

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_CLOCKS_H
