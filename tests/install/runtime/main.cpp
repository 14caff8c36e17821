//===- main.cpp - Uses the installed runtime without LLVM -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Usage: consumer BUNDLE. Loads the bundle and launches its forward plan with tensors
// that lie nowhere: the driver is the tests', which runs nothing.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Runtime/Plan.h"
#include <cstdio>

using namespace fresnel::rt;

static int fail(const char *where, const Status &status) {
  std::fprintf(stderr, "%s: %s\n", where, status.message().c_str());
  return 1;
}

int main(int argc, char **argv) {
  auto damaged = parseBundle("empty.fkb", "");
  if (argc != 2 || damaged || damaged.status().code() != Code::Integrity)
    return 1;
  auto bundle = readBundle(argv[1]);
  if (!bundle)
    return fail("reading", bundle.status());
  auto driver = Driver::load();
  if (!driver)
    return fail("the driver", driver.status());
  auto plan = LoadedPlan::load(*driver, std::move(*bundle), /*device=*/0);
  if (!plan)
    return fail("loading", plan.status());
  std::vector<TensorArg> args;
  std::vector<std::vector<int64_t>> strides;
  for (size_t index : plan->arguments()) {
    const std::vector<int64_t> &shape = plan->manifest().buffers[index].shape;
    strides.emplace_back(shape.size(), 1);
    for (size_t d = shape.size(); d-- > 1;)
      strides.back()[d - 1] = strides.back()[d] * shape[d];
    args.push_back({reinterpret_cast<void *>(uintptr_t(args.size() + 1) << 20), plan->manifest().buffers[index].dtype,
                    shape.data(), strides.back().data(), int(shape.size())});
  }
  void *workspace = reinterpret_cast<void *>(uintptr_t(1) << 30);
  if (Status status = plan->launch(args.data(), args.size(), workspace, plan->workspaceBytes(), nullptr); !status.ok())
    return fail("launching", status);
  std::printf("C++: launched %zu kernels with %zu tensors\n", plan->manifest().launches.size(), args.size());
  return 0;
}
