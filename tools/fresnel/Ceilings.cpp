//===- Ceilings.cpp - What a GPU reaches at best, measured ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Bench.h"
#include "CeilingTexts.h"
#include "DeviceTensors.h"
#include "Execute.h"
#include "Method.h"

#include "fresnel/Target/TargetInfo.h"

#include <algorithm>

namespace fresnel::tool {

static constexpr int kSamples = 9;

/// Median seconds of `work`, which is launched on the default stream, after one
/// run that is not counted.
template <typename Work>
static double measureSeconds(const rt::Driver &driver, Work work) {
  rt::CuEvent begin = nullptr, end = nullptr;
  check(driver.check(driver.cuEventCreate(&begin, 0), "cuEventCreate"));
  check(driver.check(driver.cuEventCreate(&end, 0), "cuEventCreate"));
  std::vector<double> seconds;
  for (int sample = -1; sample < kSamples; ++sample) {
    check(driver.check(driver.cuEventRecord(begin, nullptr), "cuEventRecord"));
    work();
    check(driver.check(driver.cuEventRecord(end, nullptr), "cuEventRecord"));
    check(driver.check(driver.cuEventSynchronize(end), "measuring the ceilings"));
    float milliseconds = 0;
    check(driver.check(driver.cuEventElapsedTime(&milliseconds, begin, end), "cuEventElapsedTime"));
    if (sample >= 0)
      seconds.push_back(double(milliseconds) * 1e-3);
  }
  driver.cuEventDestroy(begin);
  driver.cuEventDestroy(end);
  return quantile(seconds, 0.5);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

static void measureCopy(const std::shared_ptr<rt::Driver> &driver, Ceilings &ceilings) {
  size_t available = 0, total = 0;
  check(driver->check(driver->cuMemGetInfo(&available, &total), "cuMemGetInfo"));
  // Far more than any L2 holds.
  size_t bytes = std::min<size_t>(size_t(1) << 30, available / 4) & ~size_t(4095);
  rt::DeviceBuffer source = unwrap(rt::DeviceBuffer::allocate(driver, bytes));
  rt::DeviceBuffer target = unwrap(rt::DeviceBuffer::allocate(driver, bytes));
  check(source.fill(0x3C, bytes));
  auto address = [](const rt::DeviceBuffer &buffer) { return reinterpret_cast<uint64_t>(buffer.data()); };
  double seconds = measureSeconds(*driver, [&] {
    check(driver->check(driver->cuMemcpyDtoDAsync(address(target), address(source), bytes, nullptr), "copying"));
  });
  ceilings.copyBytes = int64_t(bytes);
  ceilings.copy = seconds > 0 ? 2.0 * double(bytes) / seconds : 0;
}

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

static std::string replaceAll(std::string text, const std::string &name, int64_t value) {
  for (size_t at = text.find(name); at != text.npos; at = text.find(name, at))
    text.replace(at, name.size(), std::to_string(value));
  return text;
}

/// A bundle of the kernel that does nothing but products; several milliseconds long,
/// so that the clock is that of a GPU at work.
static rt::Bundle compileMatrixKernel(const TargetInfo &target, int64_t multiprocessors) {
  constexpr int64_t kRounds = 4096;
  // One block fills a multiprocessor with wgmma; mma.sync needs two to hide its latencies.
  int64_t blocks = multiprocessors * (target.hasWgmma ? 1 : 2);
  int64_t flops = blocks * kRounds * (target.hasWgmma ? 2 * 128 * 256 * 128 : 2 * 128 * 128 * 64);
  std::string text = target.hasWgmma ? kWgmmaText : kMmaText;
  text = replaceAll(replaceAll(replaceAll(text, "BLOCKS", blocks), "ROUNDS", kRounds), "FLOPS", flops);
  Method method = loadProgramText(text, "matrix_rate");
  CompileOptions options;
  options.target = target.name.str();
  options.startAfter = Stage::Tile;
  CompileResult result = compileMethod(method, options);
  return {std::move(result.bundle.manifest), std::move(result.bundle.ptx)};
}

static void measureMatrix(const std::shared_ptr<rt::Driver> &driver, int device, const std::string &targetName,
                          Ceilings &ceilings) {
  llvm::Expected<TargetInfo> target = findTarget(targetName);
  if (!target)
    fail(ExitFormat, llvm::toString(target.takeError()));
  rt::LoadedPlan plan = unwrap(rt::LoadedPlan::load(
      driver, compileMatrixKernel(*target, unwrap(driver->describe(device)).multiprocessors), device));
  std::vector<HostTensor> inputs;
  // Values as varied as those of real work: zeros would draw less power and run faster.
  for (const rt::Buffer &buffer : plan.manifest().buffers)
    if (buffer.kind == rt::BufferKind::Input)
      inputs.push_back(randomTensor(buffer.name, buffer.dtype, buffer.shape, 1));
  DeviceTensors tensors(driver, /*sequenceMajor=*/false);
  tensors.add(plan.forward(), inputs);
  std::vector<rt::TensorArg> args = tensors.arguments(plan.forward());
  double seconds = measureSeconds(*driver, [&] { check(plan.launch(args.data(), args.size(), nullptr, 0, nullptr)); });
  const rt::Kernel &kernel = plan.manifest().kernels.front();
  ceilings.matrixOp = kernel.op;
  ceilings.matrix = seconds > 0 ? double(kernel.cost->flops) / seconds : 0;
}

Ceilings measureCeilings(const std::shared_ptr<rt::Driver> &driver, int device, const std::string &target) {
  Progress progress("measuring the ceilings");
  Ceilings ceilings;
  measureCopy(driver, ceilings);
  measureMatrix(driver, device, target, ceilings);
  return ceilings;
}

} // namespace fresnel::tool
