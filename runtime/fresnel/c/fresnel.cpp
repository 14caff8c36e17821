//===- fresnel.cpp - C interface of the runtime
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/c/fresnel.h"
#include "fresnel/Runtime/Plan.h"
#include "fresnel/Tuning/Selection.h"
#include "fresnel/c/Guard.h"
#include <cstring>

using namespace fresnel::rt;

struct frn_plan {
  std::shared_ptr<Driver> driver;
  LoadedPlan plan;
};

/// Tensors of a launch are converted on the stack.
static constexpr size_t kMaxTensors = 32;

static thread_local std::string lastError;

frn_status fresnel::rt::report(const Status &status) {
  lastError = status.message();
  return static_cast<frn_status>(status.code());
}

int frn_abi_version(void) { return FRN_ABI_VERSION; }

int frn_abi_minor(void) { return FRN_ABI_MINOR; }

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
  case FRN_JIT_DISABLED:
    return "compiling is disabled";
  case FRN_INTERNAL:
    return "internal error";
  }
  return "unknown status";
}

const char *frn_last_error(void) { return lastError.c_str(); }

static Status load(Expected<Bundle> bundle, int device, frn_plan **plan) {
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
}

frn_status frn_plan_load(const char *path, int device, frn_plan **plan) {
  return guard([&]() -> Status {
    if (!path || !plan)
      return Status(Code::InvalidArgument, "frn_plan_load: path and plan must not be null");
    *plan = nullptr;
    return load(readBundle(path), device, plan);
  });
}

frn_status frn_plan_load_memory(const void *bundle, size_t bytes, int device, frn_plan **plan) {
  return guard([&]() -> Status {
    if (!bundle || !plan)
      return Status(Code::InvalidArgument, "frn_plan_load_memory: bundle and plan must not be null");
    *plan = nullptr;
    return load(parseBundle("in memory", {static_cast<const char *>(bundle), bytes}), device, plan);
  });
}

void frn_plan_destroy(frn_plan *plan) { delete plan; }

/// The plan of a direction, or why there is none.
static Expected<const PlanHandle *> select(const char *function, const frn_plan *plan, int direction) {
  if (!plan)
    return Status(Code::InvalidArgument, std::string(function) + ": plan must not be null");
  if (direction == FRN_BACKWARD)
    return plan->plan.backward();
  if (direction != FRN_FORWARD)
    return Status(Code::InvalidArgument, std::string(function) + ": direction " + std::to_string(direction) +
                                             " is neither FRN_FORWARD nor FRN_BACKWARD");
  return &plan->plan.forward();
}

static Status describe(const PlanHandle &plan, size_t index, frn_argument &argument) {
  if (index >= plan.arguments().size())
    return Status(Code::InvalidArgument, "argument " + std::to_string(index) + " of " +
                                             std::to_string(plan.arguments().size()) + " was asked for");
  const Buffer &buffer = plan.plan().buffers[plan.arguments()[index]];
  argument = {buffer.name.c_str(), static_cast<frn_dtype>(buffer.dtype), int32_t(buffer.shape.size()),
              buffer.shape.data(), buffer.kind == BufferKind::Output};
  return Status();
}

/// Converts the tensors on the stack and hands them to `launch(args)`.
template <typename Launch>
static Status withTensors(const frn_tensor *tensors, size_t count, Launch launch) {
  if (!tensors && count > 0)
    return Status(Code::InvalidArgument, "tensors must not be null when there are " + std::to_string(count));
  if (count > kMaxTensors)
    return Status(Code::InvalidArgument,
                  "at most " + std::to_string(kMaxTensors) + " tensors are taken, but got " + std::to_string(count));
  TensorArg args[kMaxTensors];
  for (size_t i = 0; i < count; ++i) {
    // A C caller can put any number there.
    if (int dtype = int(tensors[i].dtype); dtype < FRN_F32 || dtype > FRN_I8)
      return Status(Code::InvalidArgument,
                    "tensor " + std::to_string(i) + " has dtype " + std::to_string(dtype) + ", which is no frn_dtype");
    args[i] = {tensors[i].data, static_cast<DType>(tensors[i].dtype), tensors[i].shape, tensors[i].strides,
               tensors[i].rank};
  }
  return launch(args);
}

size_t frn_plan_argument_count(const frn_plan *plan) { return plan ? plan->plan.arguments().size() : 0; }

frn_status frn_plan_argument(const frn_plan *plan, size_t index, frn_argument *argument) {
  return frn_plan_get_argument(plan, FRN_FORWARD, index, argument);
}

int64_t frn_plan_workspace_bytes(const frn_plan *plan) { return plan ? plan->plan.workspaceBytes() : 0; }

frn_status frn_plan_launch(const frn_plan *plan, const frn_tensor *tensors, size_t count, void *workspace,
                           int64_t workspace_bytes, frn_stream stream) {
  return guard([&]() -> Status {
    if (!plan)
      return Status(Code::InvalidArgument, "frn_plan_launch: plan must not be null");
    return withTensors(tensors, count, [&](const TensorArg *args) {
      return plan->plan.launch(args, count, workspace, workspace_bytes, stream);
    });
  });
}

int32_t frn_plan_has_backward(const frn_plan *plan) { return plan && plan->plan.hasBackward(); }

frn_status frn_plan_count_arguments(const frn_plan *plan, frn_direction direction, size_t *count) {
  return guard([&]() -> Status {
    Expected<const PlanHandle *> handle = select("frn_plan_count_arguments", plan, direction);
    if (!handle)
      return handle.status();
    if (!count)
      return Status(Code::InvalidArgument, "frn_plan_count_arguments: count must not be null");
    *count = (*handle)->arguments().size();
    return Status();
  });
}

frn_status frn_plan_get_argument(const frn_plan *plan, frn_direction direction, size_t index, frn_argument *argument) {
  return guard([&]() -> Status {
    Expected<const PlanHandle *> handle = select("frn_plan_get_argument", plan, direction);
    if (!handle)
      return handle.status();
    if (!argument)
      return Status(Code::InvalidArgument, "frn_plan_get_argument: argument must not be null");
    return describe(**handle, index, *argument);
  });
}

frn_status frn_plan_get_workspace_bytes(const frn_plan *plan, frn_direction direction, int64_t *bytes) {
  return guard([&]() -> Status {
    Expected<const PlanHandle *> handle = select("frn_plan_get_workspace_bytes", plan, direction);
    if (!handle)
      return handle.status();
    if (!bytes)
      return Status(Code::InvalidArgument, "frn_plan_get_workspace_bytes: bytes must not be null");
    *bytes = (*handle)->workspaceBytes();
    return Status();
  });
}

frn_status frn_plan_count_kernels(const frn_plan *plan, frn_direction direction, size_t *count) {
  return guard([&]() -> Status {
    Expected<const PlanHandle *> handle = select("frn_plan_count_kernels", plan, direction);
    if (!handle)
      return handle.status();
    if (!count)
      return Status(Code::InvalidArgument, "frn_plan_count_kernels: count must not be null");
    *count = (*handle)->plan().launches.size();
    return Status();
  });
}

frn_status frn_plan_get_kernel(const frn_plan *plan, frn_direction direction, size_t index, frn_kernel *kernel) {
  return guard([&]() -> Status {
    Expected<const PlanHandle *> handle = select("frn_plan_get_kernel", plan, direction);
    if (!handle)
      return handle.status();
    if (!kernel)
      return Status(Code::InvalidArgument, "frn_plan_get_kernel: kernel must not be null");
    const std::vector<Launch> &launches = (*handle)->plan().launches;
    if (index >= launches.size())
      return Status(Code::InvalidArgument,
                    "kernel " + std::to_string(index) + " of " + std::to_string(launches.size()) + " was asked for");
    const Kernel &launched = plan->plan.manifest().kernels[size_t(launches[index].kernel)];
    Expected<ChoiceSource> source = sourceOf(launched);
    if (!source)
      return source.status();
    *kernel = {launched.name.c_str(), launched.op.c_str(), launched.schedule.c_str(), static_cast<frn_choice>(*source)};
    return Status();
  });
}

int64_t frn_plan_saved_bytes(const frn_plan *plan) { return plan ? plan->plan.savedBytes() : 0; }

size_t frn_plan_saved_count(const frn_plan *plan) {
  size_t count = 0;
  if (plan)
    for (const Buffer &buffer : plan->plan.manifest().buffers)
      count += buffer.isSaved();
  return count;
}

frn_status frn_plan_get_saved(const frn_plan *plan, size_t index, frn_saved_tensor *saved) {
  return guard([&]() -> Status {
    if (!plan || !saved)
      return Status(Code::InvalidArgument, "frn_plan_get_saved: plan and saved must not be null");
    size_t at = 0;
    for (const Buffer &buffer : plan->plan.manifest().buffers) {
      if (!buffer.isSaved() || at++ != index)
        continue;
      *saved = {buffer.name.c_str(),          static_cast<frn_dtype>(buffer.dtype),
                int32_t(buffer.shape.size()), buffer.shape.data(),
                buffer.savedOffset,           buffer.bytes()};
      return Status();
    }
    return Status(Code::InvalidArgument,
                  "saved tensor " + std::to_string(index) + " of " + std::to_string(at) + " was asked for");
  });
}

frn_status frn_plan_run(const frn_plan *plan, frn_direction direction, const frn_tensor *tensors, size_t count,
                        const frn_memory *memory, frn_stream stream) {
  return guard([&]() -> Status {
    Expected<const PlanHandle *> handle = select("frn_plan_run", plan, direction);
    if (!handle)
      return handle.status();
    if (!memory)
      return Status(Code::InvalidArgument, "frn_plan_run: memory must not be null");
    return withTensors(tensors, count, [&](const TensorArg *args) {
      LaunchMemory space{memory->workspace, memory->workspace_bytes, memory->saved, memory->saved_bytes};
      return (*handle)->launch(args, count, space, stream);
    });
  });
}

/// Gives the caller 64 digits and a null.
static Status give(const std::string &digest, char *target) {
  std::memcpy(target, digest.c_str(), FRN_DIGEST_SIZE);
  return Status();
}

frn_status frn_plan_digest(const frn_plan *plan, char digest[FRN_DIGEST_SIZE]) {
  return guard([&]() -> Status {
    if (!plan || !digest)
      return Status(Code::InvalidArgument, "frn_plan_digest: plan and digest must not be null");
    return give(plan->plan.digest(), digest);
  });
}

frn_status frn_selection_digest(const char *database, int device, char digest[FRN_DIGEST_SIZE]) {
  return guard([&]() -> Status {
    if (!digest)
      return Status(Code::InvalidArgument, "frn_selection_digest: digest must not be null");
    if (Status named = database ? checkDatabaseExists(database) : Status(); !named.ok())
      return named;
    Expected<std::shared_ptr<Driver>> driver = Driver::load();
    if (!driver)
      return driver.status();
    Expected<DeviceInfo> info = (*driver)->describe(device);
    if (!info)
      return info.status();
    Expected<Database> records = Database::open(database ? database : defaultDatabasePath());
    if (!records)
      return records.status();
    SelectionDigest selection;
    selection.add(
        Selection(*records, {info->name, info->computeMajor * 10 + info->computeMinor, info->multiprocessors}));
    return give(selection.finish(), digest);
  });
}
