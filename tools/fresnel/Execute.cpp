//===- Execute.cpp - Running a method on the CPU or a GPU -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Execute.h"
#include "Common.h"
#include "DeviceTensors.h"

#include "fresnel/Interpreter/Interpreter.h"
#include "fresnel/Reference/Documents.h"
#include "fresnel/Runtime/Plan.h"
#include "fresnel/Schedule/Schedule.h"
#include "fresnel/Target/TargetInfo.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

#include <chrono>
#include <cstring>
#include <iostream>

namespace fresnel::tool {

rt::DType dtypeOf(mlir::Type element) {
  if (element.isBF16())
    return rt::DType::BF16;
  if (element.isF16())
    return rt::DType::F16;
  if (element.isInteger(8))
    return rt::DType::I8;
  return element.isF32() ? rt::DType::F32 : rt::DType::I32;
}

/// How many indices the operations that read `input` tell apart; the fewest count.
static int64_t countIndices(mlir::Value input) {
  int64_t limit = INT32_MAX;
  auto length = [](mlir::Value tensor) { return mlir::cast<mlir::RankedTensorType>(tensor.getType()).getDimSize(2); };
  auto blocks = [&](auto op) { return int64_t(llvm::divideCeil(length(op.getK()), int64_t(op.getKeyBlock()))); };
  for (mlir::Operation *user : input.getUsers())
    limit = std::min(limit, llvm::TypeSwitch<mlir::Operation *, int64_t>(user)
                                .Case<AttendOp, AttendGradQOp, AttendGradKvOp>(blocks)
                                .Case([&](GatherOp op) { return length(op.getX()); })
                                .Case([&](ScatterOp op) { return int64_t(op.getSeqLen()); })
                                .Default([](mlir::Operation *) { return int64_t(1); }));
  return limit;
}

/// The length of the sequence that an input cuts into documents, or 0.
static int64_t findDocuments(mlir::Value input) {
  for (mlir::Operation *user : input.getUsers())
    if (auto bounds = llvm::dyn_cast<DocumentBoundsOp>(user))
      return int64_t(bounds.getSeqLen());
    else if (auto places = llvm::dyn_cast<AlignDocumentsOp>(user))
      return int64_t(places.getSeqLen());
  return 0;
}

/// Whether an input holds the bounds themselves.
static bool isBounds(mlir::Value input) {
  return llvm::any_of(input.getUsers(), [&](mlir::Operation *user) { return getDocumentBounds(user) == input; });
}

/// The bounds of a few documents.
static HostTensor randomBounds(const std::string &name, const std::vector<int64_t> &shape, uint64_t seed) {
  constexpr int64_t kEntries = 9;
  HostTensor cuts = randomDocuments(name, {1, 1, kEntries}, shape[2], seed);
  ref::IndexTensor list({1, 1, kEntries});
  std::memcpy(list.data.data(), cuts.data.data(), cuts.data.size());
  ref::IndexTensor bounds = ref::documentBounds(list, shape[2]);
  HostTensor tensor{name, rt::DType::I32, shape, std::vector<uint8_t>(bounds.data.size() * sizeof(int32_t))};
  std::memcpy(tensor.data.data(), bounds.data.data(), tensor.data.size());
  return tensor;
}

HostTensor randomInput(ProgramOp program, unsigned index, uint64_t seed) {
  mlir::RankedTensorType type = program.getInputType(index);
  std::string name = program.getInputName(index).str();
  std::vector<int64_t> shape(type.getShape().begin(), type.getShape().end());
  rt::DType dtype = dtypeOf(type.getElementType());
  if (!rt::isInteger(dtype))
    return randomTensor(name, dtype, shape, seed);
  if (dtype == rt::DType::I8)
    return randomMask(name, shape, seed);
  if (int64_t length = findDocuments(program.getBody().getArgument(index)))
    return randomDocuments(name, shape, length, seed);
  if (isBounds(program.getBody().getArgument(index)))
    return randomBounds(name, shape, seed);
  return randomIndices(name, shape, countIndices(program.getBody().getArgument(index)), seed);
}

std::vector<HostTensor> randomInputs(ProgramOp program, uint64_t seed) {
  std::vector<HostTensor> inputs;
  for (unsigned i = 0; i < program.getNumInputs(); ++i)
    inputs.push_back(randomInput(program, i, seed));
  return inputs;
}

//===----------------------------------------------------------------------===//
// CPU
//===----------------------------------------------------------------------===//

static NamedValue toValue(const HostTensor &tensor) {
  if (!rt::isInteger(tensor.dtype))
    return {tensor.name, ref::Tensor(tensor.shape, toFloats(tensor))};
  if (tensor.dtype == rt::DType::I8)
    return {tensor.name, ref::IndexTensor(tensor.shape, {tensor.data.begin(), tensor.data.end()})};
  std::vector<int32_t> values(size_t(tensor.elements()));
  std::memcpy(values.data(), tensor.data.data(), values.size() * 4);
  return {tensor.name, ref::IndexTensor(tensor.shape, values)};
}

static HostTensor fromValue(const NamedValue &value) {
  if (auto *tensor = std::get_if<ref::Tensor>(&value.value))
    return fromFloats(value.name, rt::DType::F32, tensor->shape, tensor->data);
  const auto &indices = std::get<ref::IndexTensor>(value.value);
  HostTensor host{value.name, rt::DType::I32, indices.shape, std::vector<uint8_t>(indices.data.size() * 4)};
  std::memcpy(host.data.data(), indices.data.data(), host.data.size());
  return host;
}

std::vector<HostTensor> runOnCpu(ProgramOp program, const std::vector<HostTensor> &inputs) {
  std::vector<NamedValue> values;
  for (const HostTensor &input : inputs)
    values.push_back(toValue(input));
  llvm::Expected<std::vector<NamedValue>> results = interpret(program, values);
  if (!results)
    fail(ExitUnsupported, llvm::toString(results.takeError()));
  std::vector<HostTensor> outputs;
  for (const NamedValue &result : *results)
    outputs.push_back(fromValue(result));
  return outputs;
}

//===----------------------------------------------------------------------===//
// GPU
//===----------------------------------------------------------------------===//

int countGpus() {
  rt::Expected<std::shared_ptr<rt::Driver>> driver = rt::Driver::load();
  if (!driver)
    return 0;
  rt::Expected<int> count = (*driver)->countDevices();
  return count ? *count : 0;
}

std::string targetFor(const rt::DeviceClass &device) {
  const TargetInfo *best = bestTarget(device.compute);
  if (!best)
    fail(ExitUnsupported, device.name + " has compute capability " + std::to_string(device.compute / 10) + "." +
                              std::to_string(device.compute % 10) + ", the kernels need 8.0");
  return best->name.str();
}

rt::DeviceClass deviceClassOf(int device) {
  std::shared_ptr<rt::Driver> driver = loadDriver(device);
  rt::DeviceInfo info = unwrap(driver->describe(device));
  return {info.name, info.computeMajor * 10 + info.computeMinor, info.multiprocessors};
}

std::vector<HostTensor> runOnGpu(const rt::Bundle &bundle, int device, bool sequenceMajor,
                                 const std::vector<HostTensor> &inputs, int repeat, double &secondsPerRun) {
  std::shared_ptr<rt::Driver> driver = loadDriver(device);
  auto context = unwrap(rt::ContextScope::enter(driver, device));
  rt::LoadedPlan plan = unwrap(rt::LoadedPlan::load(driver, bundle, device));
  for (const std::string &warning : plan.warnings())
    std::cerr << "warning: " << warning << "\n";

  std::vector<const rt::PlanHandle *> plans = {&plan.forward()};
  if (plan.hasBackward())
    plans.push_back(unwrap(plan.backward()));
  DeviceTensors tensors(driver, sequenceMajor);
  std::vector<std::vector<rt::TensorArg>> args;
  int64_t workspaceBytes = 0;
  for (const rt::PlanHandle *part : plans) {
    tensors.add(*part, inputs);
    args.push_back(tensors.arguments(*part));
    workspaceBytes = std::max(workspaceBytes, part->workspaceBytes());
  }
  rt::DeviceBuffer workspace = unwrap(rt::DeviceBuffer::allocate(driver, size_t(workspaceBytes)));
  rt::DeviceBuffer saved = unwrap(rt::DeviceBuffer::allocate(driver, size_t(plan.savedBytes())));
  check(workspace.fill(0xFF, size_t(workspaceBytes)));
  check(saved.fill(0xFF, size_t(plan.savedBytes())));
  rt::LaunchMemory memory{workspace.data(), workspaceBytes, saved.data(), plan.savedBytes()};
  auto launchAll = [&] {
    for (size_t i = 0; i < plans.size(); ++i)
      check(plans[i]->launch(args[i].data(), args[i].size(), memory, nullptr));
  };
  launchAll();
  check(driver->check(driver->cuCtxSynchronize(), "running the kernels"));
  if (repeat > 0) {
    auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < repeat; ++i)
      launchAll();
    check(driver->check(driver->cuCtxSynchronize(), "running the kernels"));
    secondsPerRun = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeat;
  }
  return tensors.download();
}

} // namespace fresnel::tool
