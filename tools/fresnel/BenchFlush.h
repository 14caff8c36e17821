//===- BenchFlush.h - What L2 holds before a kernel is timed ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_BENCHFLUSH_H
#define FRESNEL_TOOLS_BENCHFLUSH_H

#include "Common.h"

#include "fresnel/Runtime/Plan.h"

#include <memory>
#include <string>

namespace fresnel::tool {

/// Fills L2 with lines that no kernel reads. A line that was written there must go to
/// memory before another takes its place: who evicts it pays, not who wrote it. A kernel
/// that writes leaves such lines behind as it found some, and its time is that of its own
/// bytes; one that only reads would pay for others'. So L2 is read full first, and then as
/// many bytes are written there as the kernel will leave.
class BenchFlush {
public:
  BenchFlush(std::shared_ptr<rt::Driver> driver, int device, const std::string &target);

  /// `written` bytes, or all of L2 if that is less, are to be written back.
  void run(int64_t written, rt::CuStream stream);
  /// Bytes that are read.
  int64_t getBytes() const { return bytes; }

private:
  std::shared_ptr<rt::Driver> driver;
  int64_t bytes;
  rt::LoadedPlan plan;
  rt::DeviceBuffer scratch, norms;
};

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_BENCHFLUSH_H
