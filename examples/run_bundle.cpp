//===- run_bundle.cpp - Loads a bundle and launches it, in C++
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Usage: run_bundle_cpp BUNDLE.fkb
// Fills the inputs with ones (indices with zeros), launches the plan once, and prints
// the first element of every floating-point output. Exit code 4 without a GPU.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Runtime/Plan.h"
#include <cstdio>

using namespace fresnel::rt;

static int fail(const Status &status) {
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return status.code() == Code::NoDriver ? 4 : 1;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s BUNDLE.fkb\n", argv[0]);
    return 2;
  }
  Expected<Bundle> bundle = readBundle(argv[1]);
  if (!bundle)
    return fail(bundle.status());
  auto driver = Driver::load();
  if (!driver)
    return fail(driver.status());
  auto context = ContextScope::enter(*driver, /*device=*/0);
  if (!context)
    return fail(context.status());
  auto plan = LoadedPlan::load(*driver, std::move(*bundle), /*device=*/0);
  if (!plan)
    return fail(plan.status());

  std::vector<DeviceBuffer> memory;
  std::vector<std::vector<int64_t>> strides;
  std::vector<TensorArg> args;
  for (size_t index : plan->arguments()) {
    const Buffer &buffer = plan->manifest().buffers[index];
    auto allocated = DeviceBuffer::allocate(*driver, size_t(buffer.bytes()));
    if (!allocated)
      return fail(allocated.status());
    // Indices are I32, and every byte of a mask (I8) that is not 0 means true.
    std::vector<char> bytes(size_t(buffer.bytes()), buffer.dtype == DType::I8 ? 1 : 0);
    if (!isInteger(buffer.dtype)) {
      std::vector<float> ones(size_t(buffer.elements()), 1.0f);
      fromFloat(ones.data(), buffer.dtype, buffer.elements(), bytes.data());
    }
    if (Status status = allocated->upload(bytes.data(), bytes.size()); !status.ok())
      return fail(status);
    memory.push_back(std::move(*allocated));
    std::vector<int64_t> dense(buffer.shape.size(), 1);
    for (size_t d = dense.size(); d-- > 1;)
      dense[d - 1] = dense[d] * buffer.shape[d];
    strides.push_back(std::move(dense));
  }
  for (size_t i = 0; i < memory.size(); ++i) {
    const Buffer &buffer = plan->manifest().buffers[plan->arguments()[i]];
    args.push_back({memory[i].data(), buffer.dtype, buffer.shape.data(), strides[i].data(), int(buffer.shape.size())});
  }
  auto workspace = DeviceBuffer::allocate(*driver, size_t(plan->workspaceBytes()));
  if (!workspace)
    return fail(workspace.status());
  // The null stream; a framework passes its own.
  Status status = plan->launch(args.data(), args.size(), workspace->data(), plan->workspaceBytes(), nullptr);
  if (status.ok())
    status = (*driver)->check((*driver)->cuCtxSynchronize(), "running the kernels");
  if (!status.ok())
    return fail(status);

  for (size_t i = 0; i < memory.size(); ++i) {
    const Buffer &buffer = plan->manifest().buffers[plan->arguments()[i]];
    if (buffer.kind != BufferKind::Output || isInteger(buffer.dtype))
      continue;
    char bytes[4];
    float value = 0;
    if (Status copied = memory[i].download(bytes, size_t(sizeOf(buffer.dtype))); !copied.ok())
      return fail(copied);
    toFloat(bytes, buffer.dtype, 1, &value);
    std::printf("%s[0] = %g\n", buffer.name.c_str(), value);
  }
  return 0;
}
