//===- PlanHandle.cpp - One plan of a loaded bundle, ready to launch
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Runtime/PlanHandle.h"
#include "fresnel/Runtime/TensorMaps.h"
#include <algorithm>

namespace fresnel::rt {

// Values of cuda.h.
static constexpr size_t kMaxParams = 256, kMaxMaps = 6;
static constexpr int kProgrammaticSerialization = 6;
/// Graphs know programmatic edges from here on; a launch must be capturable.
static constexpr int kDependentLaunchCuda = 12030;

LoadedCode::~LoadedCode() {
  for (CuLibrary library : libraries)
    driver->cuLibraryUnload(library);
  if (context)
    driver->cuDevicePrimaryCtxRelease(device);
}

Status LoadedCode::bindContext() const {
  CuContext current = nullptr;
  int error = driver->cuCtxGetCurrent(&current);
  if (error == 0 && current == context)
    return Status();
  if (error == 0 && current)
    return Status(Code::InvalidArgument, "the current context is not the primary context of GPU " +
                                             std::to_string(device) +
                                             ", on which the plan was loaded; call cudaSetDevice(" +
                                             std::to_string(device) + ") before the launch");
  return driver->check(error ? error : driver->cuCtxSetCurrent(context),
                       "making the context of GPU " + std::to_string(device) + " current");
}

PlanHandle::PlanHandle(std::shared_ptr<const LoadedCode> loaded, const Plan &plan, std::string planName)
    : code(std::move(loaded)), description(&plan), name(std::move(planName)) {
  for (const Buffer &buffer : plan.buffers) {
    argumentIndex.push_back(buffer.isArgument() ? int(argumentBuffers.size()) : -1);
    if (buffer.isArgument())
      argumentBuffers.push_back(argumentIndex.size() - 1);
    std::vector<int64_t> strides(buffer.shape.size(), 1);
    for (size_t d = strides.size(); d-- > 1;)
      strides[d - 1] = strides[d] * buffer.shape[d];
    denseStrides.push_back(std::move(strides));
  }
  for (size_t i = 0; i < plan.buffers.size(); ++i)
    if (plan.buffers[i].kind == BufferKind::Zeroed)
      clears.push_back({i, plan.buffers[i].offset, plan.buffers[i].bytes()});
  joinClears();
  size_t count = 0;
  for (const Launch &entry : plan.launches) {
    firstMap.push_back(count);
    for (const Param &param : code->bundle.manifest.kernels[size_t(entry.kernel)].params)
      count += param.kind == ParamKind::TensorMap;
  }
  maps = std::make_shared<TensorMapCache>(count);
}

void PlanHandle::joinClears() {
  std::sort(clears.begin(), clears.end(), [](const Clear &a, const Clear &b) { return a.offset < b.offset; });
  auto isPadding = [&](int64_t begin, int64_t end) {
    return std::none_of(description->buffers.begin(), description->buffers.end(), [&](const Buffer &buffer) {
      return buffer.isInWorkspace() && buffer.offset < end && begin < buffer.offset + buffer.bytes();
    });
  };
  size_t kept = 0;
  for (size_t i = 1; i < clears.size(); ++i) {
    int64_t end = clears[kept].offset + clears[kept].bytes, next = clears[i].offset;
    if (next - end < description->workspaceAlign && isPadding(end, next))
      clears[kept].bytes = std::max(end, next + clears[i].bytes) - clears[kept].offset;
    else
      clears[++kept] = clears[i];
  }
  clears.resize(std::min(clears.size(), kept + 1));
}

Status PlanHandle::checkArgument(const Buffer &buffer, const TensorArg &arg) const {
  auto refuse = [&](const std::string &why) {
    return Status(Code::InvalidArgument, "tensor '" + buffer.name + "' " + why);
  };
  if (!arg.data)
    return refuse("is a null pointer");
  if (arg.dtype != buffer.dtype)
    return refuse(std::string("is ") + nameOf(arg.dtype) + ", but the kernels take " + nameOf(buffer.dtype));
  if (size_t(arg.rank) != buffer.shape.size())
    return refuse("has rank " + std::to_string(arg.rank) + ", but " + std::to_string(buffer.shape.size()) +
                  " is expected");
  if (arg.rank > 0 && (!arg.shape || !arg.strides))
    return refuse("has no shape or no strides");
  const std::vector<int64_t> &dense = denseStrides[size_t(&buffer - description->buffers.data())];
  int64_t bytes = sizeOf(buffer.dtype);
  // Kernels read rows 16 bytes at a time where they are a multiple of that; gates and scores need not be.
  bool hasChunks = arg.rank == 4 && buffer.shape[3] * bytes % 16 == 0;
  if (reinterpret_cast<uintptr_t>(arg.data) % 16)
    return refuse("is not aligned to 16 bytes");
  for (int d = 0; d < arg.rank; ++d) {
    // Texts are made for errors only: a launch allocates nothing.
    auto dim = [&] { return std::to_string(d); };
    if (arg.shape[d] != buffer.shape[size_t(d)])
      return refuse("has size " + std::to_string(arg.shape[d]) + " in dimension " + dim() + ", but " +
                    std::to_string(buffer.shape[size_t(d)]) + " is expected");
    if (arg.shape[d] == 1)
      continue;
    if (arg.strides[d] == 0 && buffer.kind == BufferKind::Output)
      return refuse("has stride 0 in dimension " + dim() +
                    ", so that its elements share memory, but the kernels write each of them; copy it");
    if (d == arg.rank - 1 && arg.strides[d] != 1)
      return refuse("has stride " + std::to_string(arg.strides[d]) +
                    " in its last dimension, but 1 is needed; make it contiguous there");
    if (arg.rank != 4 && arg.strides[d] != dense[size_t(d)])
      return refuse("must be contiguous, but has stride " + std::to_string(arg.strides[d]) + " in dimension " + dim());
    if (d < arg.rank - 1 && hasChunks && arg.strides[d] * bytes % 16)
      return refuse("has stride " + std::to_string(arg.strides[d]) + " in dimension " + dim() + ", but a multiple of " +
                    std::to_string(16 / bytes) + " elements (16 bytes) is needed");
  }
  return Status();
}

Status PlanHandle::checkPlaces(const TensorArg *args) const {
  auto bufferOf = [&](size_t i) -> const Buffer & { return description->buffers[argumentBuffers[i]]; };
  for (size_t i = 0; i < argumentBuffers.size(); ++i)
    for (size_t j = 0; bufferOf(i).kind == BufferKind::Output && j < argumentBuffers.size(); ++j)
      if (j != i && args[j].data == args[i].data)
        return Status(Code::InvalidArgument, "tensor '" + bufferOf(i).name + "' begins where tensor '" +
                                                 bufferOf(j).name + "' does, but is written while that is in use");
  return Status();
}

namespace {
/// The parameters of one launch, on the stack.
struct ParamBlock {
  TensorMap maps[kMaxMaps];
  uint64_t words[kMaxParams];
  void *pointers[kMaxParams];
  size_t count = 0, mapCount = 0;

  void add(uint64_t word) {
    words[count] = word;
    pointers[count] = &words[count];
    ++count;
  }
};
} // namespace

/// Dimensions of size 1 take the dense stride: the caller's may be anything, and
/// the driver refuses those that are no multiple of 16 bytes.
static TensorMapPlace placeTensorMap(const Buffer &buffer, void *data, const int64_t *strides, const int64_t *dense) {
  auto step = [&](size_t d) {
    return uint64_t(buffer.shape[d] == 1 ? dense[d] : strides[d]) * uint64_t(sizeOf(buffer.dtype));
  };
  return {reinterpret_cast<uint64_t>(data), step(2), step(1), step(0)};
}

/// Where a slice of the caller's tensor begins.
static void *sliceOf(const Buffer &buffer, const TensorArg &arg, int64_t slice, const Slices &slices) {
  const Slices index{slice / slices[1], slice % slices[1]};
  int64_t elements = 0;
  for (size_t dim = 0; dim < index.size(); ++dim)
    if (buffer.slices[dim] > 1)
      elements += index[dim] * buffer.sizeInSlice(dim) * arg.strides[dim];
  return static_cast<char *>(arg.data) + elements * sizeOf(buffer.dtype);
}

/// Where a buffer that is no argument lies.
char *PlanHandle::placeOf(const Buffer &buffer, const LaunchMemory &memory, int64_t slice) const {
  int64_t saved = slice * code->bundle.manifest.savedBytesOfSlice() + buffer.savedOffset;
  return buffer.isSaved() ? static_cast<char *>(memory.saved) + saved
                          : static_cast<char *>(memory.workspace) + buffer.offset;
}

Status PlanHandle::launchKernel(const Launch &launch, const TensorArg *args, const LaunchMemory &memory,
                                CuStream stream, bool dependent) const {
  const Driver &driver = *code->driver;
  const Kernel &kernel = code->bundle.manifest.kernels[size_t(launch.kernel)];
  ParamBlock block;
  for (const Param &param : kernel.params) {
    size_t index = size_t(launch.operands[size_t(param.operand)]);
    const Buffer &buffer = description->buffers[index];
    int argument = argumentIndex[index];
    void *data = argument < 0 ? placeOf(buffer, memory, launch.slice)
                              : sliceOf(buffer, args[argument], launch.slice, code->bundle.manifest.slices);
    const int64_t *strides = argument < 0 ? denseStrides[index].data() : args[argument].strides;
    if (param.kind == ParamKind::Pointer) {
      block.add(reinterpret_cast<uint64_t>(data));
    } else if (param.kind == ParamKind::Stride) {
      block.add(uint64_t(strides[param.dim]));
    } else {
      if (block.mapCount == kMaxMaps)
        return Status(Code::Unsupported, "kernel '" + kernel.name + "' takes more than " + std::to_string(kMaxMaps) +
                                             " tensor maps; use a newer runtime");
      TensorMap &map = block.maps[block.mapCount];
      size_t number = firstMap[size_t(&launch - description->launches.data())] + block.mapCount++;
      TensorMapPlace place = placeTensorMap(buffer, data, strides, denseStrides[index].data());
      if (!maps->find(number, place, map)) {
        if (int error = encodeTensorMap(driver, buffer, place, param, map))
          return driver.check(error, "encoding the tensor map of '" + buffer.name + "'");
        maps->keep(number, place, map);
      }
      block.pointers[block.count++] = &map;
    }
  }
  CuLaunchAttribute serialization{kProgrammaticSerialization, 1, {}};
  CuLaunchConfig config;
  for (size_t d = 0; d < 3; ++d) {
    config.grid[d] = unsigned(kernel.grid[d]);
    config.block[d] = unsigned(kernel.block[d]);
  }
  config.sharedBytes = unsigned(kernel.sharedBytes);
  config.stream = stream;
  config.attributes = &serialization;
  config.attributeCount = dependent ? 1 : 0;
  int error = driver.cuLaunchKernelEx(&config, code->kernels[size_t(launch.kernel)], block.pointers, nullptr);
  // The text is only made when it is needed: a launch allocates nothing.
  return error == 0 ? Status() : driver.check(error, "launching kernel '" + kernel.name + "'");
}

Status PlanHandle::checkMemory(const LaunchMemory &memory) const {
  const int64_t align = description->workspaceAlign;
  auto check = [&](const std::string &what, void *data, int64_t has, int64_t needs) {
    if (has < needs || (needs > 0 && !data))
      return Status(Code::WorkspaceTooSmall, "the " + what + " has " + std::to_string(data ? has : 0) + " bytes, but " +
                                                 std::to_string(needs) + " are needed");
    if (reinterpret_cast<uintptr_t>(data) % uintptr_t(align))
      return Status(Code::InvalidArgument, "the " + what + " is not aligned to " + std::to_string(align) + " bytes");
    return Status();
  };
  Status status = check("workspace", memory.workspace, memory.workspaceBytes, workspaceBytes());
  return status.ok() ? check("saved buffer", memory.saved, memory.savedBytes, savedBytes()) : status;
}

Status PlanHandle::launch(const TensorArg *args, size_t count, const LaunchMemory &memory, CuStream stream) const {
  if (count != argumentBuffers.size())
    return Status(Code::InvalidArgument, "the " + name + " plan takes " + std::to_string(argumentBuffers.size()) +
                                             " tensors, but got " + std::to_string(count));
  for (size_t i = 0; i < count; ++i) {
    Status status = checkArgument(description->buffers[argumentBuffers[i]], args[i]);
    if (!status.ok())
      return status;
  }
  Status status = checkPlaces(args);
  if (status.ok())
    status = checkMemory(memory);
  if (status.ok())
    status = code->bindContext();
  if (!status.ok())
    return status;
  status = clear(memory, stream);
  // The first kernel follows whatever the caller has put on the stream.
  bool follows = false;
  for (const Launch &entry : description->launches) {
    if (!status.ok())
      return status;
    if (startsSlice(entry)) {
      status = clear(memory, stream);
      if (!status.ok())
        return status;
      follows = false;
    }
    bool waits = code->bundle.manifest.kernels[size_t(entry.kernel)].dependentLaunch;
    status =
        launchKernel(entry, args, memory, stream, follows && waits && code->driver->version() >= kDependentLaunchCuda);
    follows = true;
  }
  return status;
}

bool PlanHandle::startsSlice(const Launch &launch) const {
  return &launch != description->launches.data() && launch.slice != (&launch)[-1].slice;
}

Status PlanHandle::clear(const LaunchMemory &memory, CuStream stream) const {
  for (const Clear &range : clears) {
    auto address = reinterpret_cast<uint64_t>(static_cast<char *>(memory.workspace) + range.offset);
    if (int error = code->driver->cuMemsetD8Async(address, 0, size_t(range.bytes), stream))
      return code->driver->check(error, "clearing '" + description->buffers[range.buffer].name + "'");
  }
  return Status();
}

Status PlanHandle::launchStep(size_t index, const TensorArg *args, const LaunchMemory &memory, CuStream stream) const {
  const Launch &launch = description->launches[index];
  Status status = startsSlice(launch) ? clear(memory, stream) : Status();
  return status.ok() ? launchKernel(launch, args, memory, stream, /*dependent=*/false) : status;
}

} // namespace fresnel::rt
