//===- DeviceTensors.cpp - The tensors of a bundle on a GPU -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "DeviceTensors.h"

namespace fresnel::tool {

std::shared_ptr<rt::Driver> loadDriver(int device) {
  std::shared_ptr<rt::Driver> driver = unwrap(rt::Driver::load());
  if (int count = unwrap(driver->countDevices()); device >= count)
    fail(ExitEnvironment, "there is no GPU " + std::to_string(device) + "; the driver has " + std::to_string(count));
  return driver;
}

static const HostTensor &findInput(const std::vector<HostTensor> &inputs, const std::string &name) {
  for (const HostTensor &input : inputs)
    if (input.name == name)
      return input;
  fail(ExitUsage, "the bundle's input '" + name + "' is missing");
}

const DeviceTensors::Entry *DeviceTensors::find(const std::string &name) const {
  for (const Entry &tensor : tensors)
    if (tensor.buffer->name == name)
      return &tensor;
  return nullptr;
}

void DeviceTensors::add(const rt::PlanHandle &plan, const std::vector<HostTensor> &inputs) {
  for (size_t index : plan.arguments()) {
    const rt::Buffer &buffer = plan.plan().buffers[index];
    if (find(buffer.name))
      continue;
    Entry tensor;
    tensor.buffer = &buffer;
    tensor.swapped = sequenceMajor && buffer.shape.size() == 4 && !rt::isInteger(buffer.dtype);
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
    const Entry *tensor = find(buffer.name);
    args.push_back(
        {tensor->memory.data(), buffer.dtype, buffer.shape.data(), tensor->strides.data(), int(buffer.shape.size())});
  }
  return args;
}

void DeviceTensors::poison(unsigned char byte) {
  for (Entry &tensor : tensors)
    if (tensor.buffer->kind == rt::BufferKind::Output)
      check(tensor.memory.fill(byte, size_t(tensor.buffer->bytes())));
}

std::vector<HostTensor> DeviceTensors::download() const {
  std::vector<HostTensor> outputs;
  for (const Entry &tensor : tensors) {
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

} // namespace fresnel::tool
