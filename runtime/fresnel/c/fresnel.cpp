//===- fresnel.cpp - C interface of the runtime
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/c/fresnel.h"
#include "fresnel/Runtime/Plan.h"
#include <exception>
#include <new>

using namespace fresnel::rt;

struct frn_plan {
  std::shared_ptr<Driver> driver;
  LoadedPlan plan;
};

/// Tensors of a launch are converted on the stack.
static constexpr size_t kMaxTensors = 32;

static thread_local std::string lastError;

static frn_status report(const Status &status) {
  lastError = status.message();
  return static_cast<frn_status>(status.code());
}

/// Runs `body`; no exception leaves the library.
template <typename Body>
static frn_status guard(Body body) {
  try {
    return report(body());
  } catch (const std::bad_alloc &) {
    return report(Status(Code::OutOfMemory, "out of host memory"));
  } catch (const std::exception &error) {
    return report(Status(Code::Internal, error.what()));
  }
}

int frn_abi_version(void) { return FRN_ABI_VERSION; }

const char *frn_status_name(frn_status status) {
  switch (status) {
  case FRN_OK:
    return "ok";
  case FRN_INVALID_ARGUMENT:
    return "invalid argument";
  case FRN_UNSUPPORTED:
    return "unsupported";
  case FRN_NO_DRIVER:
    return "no driver";
  case FRN_DRIVER_TOO_OLD:
    return "driver too old";
  case FRN_INTEGRITY:
    return "damaged file";
  case FRN_WORKSPACE_TOO_SMALL:
    return "workspace too small";
  case FRN_CUDA_ERROR:
    return "driver error";
  case FRN_IO_ERROR:
    return "file error";
  case FRN_OUT_OF_MEMORY:
    return "out of memory";
  case FRN_INTERNAL:
    return "internal error";
  }
  return "unknown status";
}

const char *frn_last_error(void) { return lastError.c_str(); }

frn_status frn_plan_load(const char *path, int device, frn_plan **plan) {
  return guard([&]() -> Status {
    if (!path || !plan)
      return Status(Code::InvalidArgument, "frn_plan_load: path and plan must not be null");
    *plan = nullptr;
    Expected<Bundle> bundle = readBundle(path);
    if (!bundle)
      return bundle.status();
    Expected<std::shared_ptr<Driver>> driver = Driver::load();
    if (!driver)
      return driver.status();
    Expected<LoadedPlan> loaded = LoadedPlan::load(*driver, std::move(*bundle), device);
    if (!loaded)
      return loaded.status();
    *plan = new frn_plan{*driver, std::move(*loaded)};
    return Status();
  });
}

void frn_plan_destroy(frn_plan *plan) { delete plan; }

size_t frn_plan_argument_count(const frn_plan *plan) { return plan ? plan->plan.arguments().size() : 0; }

frn_status frn_plan_argument(const frn_plan *plan, size_t index, frn_argument *argument) {
  return guard([&]() -> Status {
    if (!plan || !argument)
      return Status(Code::InvalidArgument, "frn_plan_argument: plan and argument must not be null");
    if (index >= plan->plan.arguments().size())
      return Status(Code::InvalidArgument, "argument " + std::to_string(index) + " of " +
                                               std::to_string(plan->plan.arguments().size()) + " was asked for");
    const Buffer &buffer = plan->plan.manifest().buffers[plan->plan.arguments()[index]];
    *argument = {buffer.name.c_str(), static_cast<frn_dtype>(buffer.dtype), int32_t(buffer.shape.size()),
                 buffer.shape.data(), buffer.kind == BufferKind::Output};
    return Status();
  });
}

int64_t frn_plan_workspace_bytes(const frn_plan *plan) { return plan ? plan->plan.workspaceBytes() : 0; }

frn_status frn_plan_launch(const frn_plan *plan, const frn_tensor *tensors, size_t count, void *workspace,
                           int64_t workspace_bytes, frn_stream stream) {
  return guard([&]() -> Status {
    if (!plan || (!tensors && count > 0))
      return Status(Code::InvalidArgument, "frn_plan_launch: plan and tensors must not be null");
    if (count > kMaxTensors)
      return Status(Code::InvalidArgument,
                    "at most " + std::to_string(kMaxTensors) + " tensors are taken, but got " + std::to_string(count));
    TensorArg args[kMaxTensors];
    for (size_t i = 0; i < count; ++i)
      args[i] = {tensors[i].data, static_cast<DType>(tensors[i].dtype), tensors[i].shape, tensors[i].strides,
                 tensors[i].rank};
    return plan->plan.launch(args, count, workspace, workspace_bytes, stream);
  });
}
