//===- Execute.cpp - Running a method on the CPU or a GPU -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Execute.h"
#include "Common.h"

#include "fresnel/Interpreter/Interpreter.h"
#include "fresnel/Runtime/Plan.h"
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

HostTensor randomInput(ProgramOp program, unsigned index, uint64_t seed) {
  mlir::RankedTensorType type = program.getInputType(index);
  std::string name = program.getInputName(index).str();
  std::vector<int64_t> shape(type.getShape().begin(), type.getShape().end());
  if (rt::DType dtype = dtypeOf(type.getElementType()); dtype != rt::DType::I32)
    return randomTensor(name, dtype, shape, seed);
  return randomIndices(name, shape, countIndices(program.getBody().getArgument(index)), seed);
}

//===----------------------------------------------------------------------===//
// CPU
//===----------------------------------------------------------------------===//

static NamedValue toValue(const HostTensor &tensor) {
  if (tensor.dtype != rt::DType::I32)
    return {tensor.name, ref::Tensor(tensor.shape, toFloats(tensor))};
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

static void check(const rt::Status &status) {
  if (!status.ok())
    fail(status.code() == rt::Code::Unsupported ? ExitUnsupported : ExitEnvironment, status.message());
}

template <typename T>
static T unwrap(rt::Expected<T> value) {
  check(value.status());
  return std::move(*value);
}

rt::DeviceClass deviceClassOf(int device) {
  std::shared_ptr<rt::Driver> driver = unwrap(rt::Driver::load());
  rt::DeviceInfo info = unwrap(driver->describe(device));
  return {info.name, info.computeMajor * 10 + info.computeMinor, info.multiprocessors};
}

namespace {
/// A tensor on the device, with the strides of its memory order.
struct DeviceTensor {
  const rt::Buffer *buffer = nullptr;
  rt::DeviceBuffer memory;
  std::vector<int64_t> strides;
  bool swapped = false;
};

/// The tensors of a bundle's plans, one per name.
class DeviceTensors {
public:
  DeviceTensors(std::shared_ptr<rt::Driver> driver, bool sequenceMajor)
      : driver(std::move(driver)), sequenceMajor(sequenceMajor) {}

  /// Makes what the plan takes and is not there yet: inputs are uploaded, outputs poisoned.
  void add(const rt::PlanHandle &plan, const std::vector<HostTensor> &inputs);
  std::vector<rt::TensorArg> arguments(const rt::PlanHandle &plan) const;
  /// The outputs, in the order in which they were added.
  std::vector<HostTensor> download() const;

private:
  const DeviceTensor *find(const std::string &name) const {
    for (const DeviceTensor &tensor : tensors)
      if (tensor.buffer->name == name)
        return &tensor;
    return nullptr;
  }

  std::shared_ptr<rt::Driver> driver;
  bool sequenceMajor;
  std::vector<DeviceTensor> tensors;
};
} // namespace

static const HostTensor &findInput(const std::vector<HostTensor> &inputs, const std::string &name) {
  for (const HostTensor &input : inputs)
    if (input.name == name)
      return input;
  fail(ExitUsage, "the bundle's input '" + name + "' is missing");
}

void DeviceTensors::add(const rt::PlanHandle &plan, const std::vector<HostTensor> &inputs) {
  for (size_t index : plan.arguments()) {
    const rt::Buffer &buffer = plan.plan().buffers[index];
    if (find(buffer.name))
      continue;
    DeviceTensor tensor;
    tensor.buffer = &buffer;
    tensor.swapped = sequenceMajor && buffer.shape.size() == 4 && buffer.dtype != rt::DType::I32;
    tensor.strides.assign(buffer.shape.size(), 1);
    for (size_t d = buffer.shape.size(); d-- > 1;)
      tensor.strides[d - 1] = tensor.strides[d] * buffer.shape[d];
    if (tensor.swapped) {
      tensor.strides[1] = buffer.shape[3];
      tensor.strides[2] = buffer.shape[3] * buffer.shape[1];
    }
    tensor.memory = unwrap(rt::DeviceBuffer::allocate(driver, size_t(buffer.bytes())));
    if (buffer.kind == rt::BufferKind::Output) {
      // NaN in every floating-point type: an element that no kernel writes shows.
      check(tensor.memory.fill(0xFF, size_t(buffer.bytes())));
    } else {
      HostTensor host = findInput(inputs, buffer.name);
      if (tensor.swapped)
        host = swapHeads(host);
      check(tensor.memory.upload(host.data.data(), host.data.size()));
    }
    tensors.push_back(std::move(tensor));
  }
}

std::vector<rt::TensorArg> DeviceTensors::arguments(const rt::PlanHandle &plan) const {
  std::vector<rt::TensorArg> args;
  for (size_t index : plan.arguments()) {
    const rt::Buffer &buffer = plan.plan().buffers[index];
    const DeviceTensor *tensor = find(buffer.name);
    args.push_back(
        {tensor->memory.data(), buffer.dtype, buffer.shape.data(), tensor->strides.data(), int(buffer.shape.size())});
  }
  return args;
}

std::vector<HostTensor> DeviceTensors::download() const {
  std::vector<HostTensor> outputs;
  for (const DeviceTensor &tensor : tensors) {
    const rt::Buffer &buffer = *tensor.buffer;
    if (buffer.kind != rt::BufferKind::Output)
      continue;
    HostTensor host{buffer.name, buffer.dtype, buffer.shape, std::vector<uint8_t>(size_t(buffer.bytes()))};
    check(tensor.memory.download(host.data.data(), host.data.size()));
    if (tensor.swapped) {
      std::swap(host.shape[1], host.shape[2]);
      host = swapHeads(host);
    }
    outputs.push_back(std::move(host));
  }
  return outputs;
}

std::vector<HostTensor> runOnGpu(const rt::Bundle &bundle, int device, bool sequenceMajor,
                                 const std::vector<HostTensor> &inputs, int repeat, double &secondsPerRun) {
  std::shared_ptr<rt::Driver> driver = unwrap(rt::Driver::load());
  if (int count = unwrap(driver->countDevices()); device >= count)
    fail(ExitEnvironment, "there is no GPU " + std::to_string(device) + "; the driver has " + std::to_string(count));
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
