//===- BenchFlush.cpp - What L2 holds before a kernel is timed --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "BenchFlush.h"
#include "DeviceTensors.h"
#include "Method.h"

#include <algorithm>
#include <array>

namespace fresnel::tool {

/// Bytes of a row of the tensor that is read.
static constexpr int64_t kColumns = 128, kRowBytes = kColumns * 4;

static int64_t chooseBytes(const rt::Driver &driver, int device) {
  constexpr int kL2Bytes = 38;
  int l2 = 0;
  driver.cuDeviceGetAttribute(&l2, kL2Bytes, device);
  // Long enough that the host has put a plan on the stream before the GPU is done with it.
  return std::max<int64_t>(2 * int64_t(l2), int64_t(256) << 20) / kRowBytes * kRowBytes;
}

/// A kernel that reads: norms of rows, which are a 128th of their bytes.
static rt::Bundle compileReader(int64_t bytes, const std::string &target) {
  std::string type = "tensor<1x1x" + std::to_string(bytes / kRowBytes) + "x" + std::to_string(kColumns) + "xf32>";
  Method method = loadProgramText("fresnel.program @read(%x: " + type + ") {\n  %n = fresnel.norm %x : " + type +
                                      "\n  fresnel.return %n {names = [\"n\"]} : tensor<1x1x" +
                                      std::to_string(bytes / kRowBytes) + "xf32>\n}\n",
                                  "read");
  CompileOptions options;
  options.target = target;
  CompileResult result = compileMethod(method, options);
  return {std::move(result.bundle.manifest), std::move(result.bundle.ptx)};
}

BenchFlush::BenchFlush(std::shared_ptr<rt::Driver> givenDriver, int device, const std::string &target)
    : driver(std::move(givenDriver)), bytes(chooseBytes(*driver, device)),
      plan(unwrap(rt::LoadedPlan::load(driver, compileReader(bytes, target), device))),
      scratch(unwrap(rt::DeviceBuffer::allocate(driver, size_t(bytes)))),
      norms(unwrap(rt::DeviceBuffer::allocate(driver, size_t(bytes / kColumns)))) {
  check(scratch.fill(0, size_t(bytes)));
}

void BenchFlush::run(int64_t written, rt::CuStream stream) {
  int64_t rows = bytes / kRowBytes;
  std::array<int64_t, 4> shape = {1, 1, rows, kColumns}, strides = {bytes / 4, bytes / 4, kColumns, 1};
  std::array<int64_t, 3> normShape = {1, 1, rows}, normStrides = {rows, rows, 1};
  std::array<rt::TensorArg, 2> args = {
      rt::TensorArg{scratch.data(), rt::DType::F32, shape.data(), strides.data(), 4},
      rt::TensorArg{norms.data(), rt::DType::F32, normShape.data(), normStrides.data(), 3}};
  check(plan.launch(args.data(), args.size(), nullptr, 0, stream));
  if (size_t dirty = size_t(std::min(written, bytes)))
    check(driver->check(driver->cuMemsetD8Async(reinterpret_cast<uint64_t>(scratch.data()), 0, dirty, stream),
                        "overwriting L2"));
}

} // namespace fresnel::tool
