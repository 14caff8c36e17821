//===- Plan.cpp - A loaded bundle, ready to launch
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Runtime/Plan.h"
#include <cctype>
#include <cstring>

namespace fresnel::rt {

// Values of cuda.h.
static constexpr int kJitInfoLog = 3, kJitInfoSize = 4, kJitErrorLog = 5, kJitErrorSize = 6, kJitVerbose = 12;
static constexpr int kKernelLocalBytes = 3, kKernelMaxDynamicShared = 8;
static constexpr int kTensorMapF16 = 6, kTensorMapBf16 = 9, kTensorMapF32 = 7;
static constexpr size_t kMaxParams = 256;
static constexpr size_t kLogBytes = 16384;

LoadedPlan::LoadedPlan(LoadedPlan &&) noexcept = default;

LoadedPlan &LoadedPlan::operator=(LoadedPlan &&other) noexcept {
  std::swap(driver, other.driver);
  std::swap(bundle, other.bundle);
  std::swap(libraries, other.libraries);
  std::swap(kernels, other.kernels);
  std::swap(argumentBuffers, other.argumentBuffers);
  std::swap(argumentIndex, other.argumentIndex);
  std::swap(denseStrides, other.denseStrides);
  std::swap(notes, other.notes);
  return *this;
}

LoadedPlan::~LoadedPlan() {
  for (CuLibrary library : libraries)
    driver->cuLibraryUnload(library);
}

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

static std::string versionText(int64_t version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// Can this device and driver run the target's code?
static Status checkTarget(const Target &target, const DeviceInfo &device, int driverVersion) {
  // On compute capability 9.0 the architecture-specific target is the fast one.
  auto advise = [&](int64_t has) { return "compile with --target=sm_" + std::to_string(has) + (has == 90 ? "a" : ""); };
  std::string have = device.name + " (compute capability " + std::to_string(device.computeMajor) + "." +
                     std::to_string(device.computeMinor) + ")";
  int64_t needs = target.computeMajor * 10 + target.computeMinor, has = device.computeMajor * 10 + device.computeMinor;
  if (target.archSpecific ? needs != has : needs > has)
    return Status(Code::Unsupported, "the bundle was compiled for " + target.name +
                                         (target.archSpecific ? ", which runs on no other generation" : "") +
                                         "; the GPU is " + have + "; " + advise(has));
  if (target.minDriverCuda > driverVersion)
    return Status(Code::DriverTooOld, "PTX " + target.ptxIsa + " needs a driver of CUDA " +
                                          versionText(target.minDriverCuda) + ", this one supports " +
                                          versionText(driverVersion) + "; update the driver");
  return Status();
}

/// Can the launch geometry of the kernel run there?
static Status checkGeometry(const Kernel &kernel, const DeviceInfo &device) {
  if (kernel.sharedBytes > device.sharedBytes)
    return Status(Code::Unsupported, "kernel '" + kernel.name + "' needs " + std::to_string(kernel.sharedBytes) +
                                         " bytes of shared memory per block, but " + device.name + " has " +
                                         std::to_string(device.sharedBytes) +
                                         "; compile with fewer stages or smaller tiles");
  if (kernel.cluster != std::array<int64_t, 3>{1, 1, 1})
    return Status(Code::Unsupported, "kernel '" + kernel.name + "' is launched in clusters of " +
                                         std::to_string(kernel.cluster[0]) + "x" + std::to_string(kernel.cluster[1]) +
                                         "x" + std::to_string(kernel.cluster[2]) +
                                         " blocks, which this runtime cannot; use a newer one");
  return Status();
}

/// Does the JIT's log hold a warning C75xx: wgmma instructions were serialised?
static bool hasWgmmaWarning(std::string_view log) {
  for (size_t at = log.find("C75"); at != log.npos; at = log.find("C75", at + 1))
    if (at + 5 <= log.size() && std::isdigit(uint8_t(log[at + 3])) && std::isdigit(uint8_t(log[at + 4])))
      return true;
  return false;
}

Status LoadedPlan::loadKernel(size_t index, int device) {
  const Kernel &kernel = bundle.manifest.kernels[index];
  std::string info(kLogBytes, '\0'), error(kLogBytes, '\0');
  int options[] = {kJitInfoLog, kJitInfoSize, kJitErrorLog, kJitErrorSize, kJitVerbose};
  void *values[] = {info.data(), reinterpret_cast<void *>(kLogBytes), error.data(), reinterpret_cast<void *>(kLogBytes),
                    reinterpret_cast<void *>(size_t(1))};
  CuLibrary library = nullptr;
  Status status = driver->check(
      driver->cuLibraryLoadData(&library, bundle.ptx[index].c_str(), options, values, 5, nullptr, nullptr, 0),
      "loading kernel '" + kernel.name + "'");
  if (!status.ok()) {
    std::string log = error.c_str();
    return Status(status.code(), status.message() + (log.empty() ? "" : "\nJIT log:\n" + log));
  }
  libraries.push_back(library);
  CuKernel handle = nullptr;
  status = driver->check(driver->cuLibraryGetKernel(&handle, library, kernel.entry.c_str()),
                         "finding entry '" + kernel.entry + "'");
  if (!status.ok())
    return status;
  if (kernel.sharedBytes > 0) {
    status =
        driver->check(driver->cuKernelSetAttribute(kKernelMaxDynamicShared, int(kernel.sharedBytes), handle, device),
                      "kernel '" + kernel.name + "' asks for " + std::to_string(kernel.sharedBytes) +
                          " bytes of shared memory, which");
    if (!status.ok())
      return status;
  }
  int localBytes = 0;
  if (driver->cuKernelGetAttribute(&localBytes, kKernelLocalBytes, handle, device) == 0 && localBytes > 0)
    notes.push_back("kernel '" + kernel.name + "' keeps " + std::to_string(localBytes) +
                    " bytes per thread in local memory");
  if (hasWgmmaWarning(info.c_str()))
    notes.push_back("kernel '" + kernel.name + "': " + info.c_str());
  kernels.push_back(handle);
  return Status();
}

Expected<LoadedPlan> LoadedPlan::load(std::shared_ptr<Driver> driver, Bundle bundle, int device) {
  Expected<DeviceInfo> info = driver->describe(device);
  if (!info)
    return info.status();
  Status status = checkTarget(bundle.manifest.target, *info, driver->version());
  if (!status.ok())
    return status;
  LoadedPlan plan;
  plan.driver = std::move(driver);
  plan.bundle = std::move(bundle);
  for (size_t i = 0; i < plan.bundle.manifest.kernels.size(); ++i) {
    status = checkGeometry(plan.bundle.manifest.kernels[i], *info);
    if (status.ok())
      status = plan.loadKernel(i, device);
    if (!status.ok())
      return status;
  }
  for (const Buffer &buffer : plan.bundle.manifest.buffers) {
    bool isArgument = !buffer.isInWorkspace();
    plan.argumentIndex.push_back(isArgument ? int(plan.argumentBuffers.size()) : -1);
    if (isArgument)
      plan.argumentBuffers.push_back(plan.argumentIndex.size() - 1);
    std::vector<int64_t> strides(buffer.shape.size(), 1);
    for (size_t d = strides.size(); d-- > 1;)
      strides[d - 1] = strides[d] * buffer.shape[d];
    plan.denseStrides.push_back(std::move(strides));
  }
  return plan;
}

//===----------------------------------------------------------------------===//
// Launching
//===----------------------------------------------------------------------===//

Status LoadedPlan::checkArgument(const Buffer &buffer, const TensorArg &arg) const {
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
  const std::vector<int64_t> &dense = denseStrides[size_t(&buffer - bundle.manifest.buffers.data())];
  int64_t bytes = sizeOf(buffer.dtype);
  if (reinterpret_cast<uintptr_t>(arg.data) % 16)
    return refuse("is not aligned to 16 bytes");
  for (int d = 0; d < arg.rank; ++d) {
    std::string dim = std::to_string(d);
    if (arg.shape[d] != buffer.shape[size_t(d)])
      return refuse("has size " + std::to_string(arg.shape[d]) + " in dimension " + dim + ", but " +
                    std::to_string(buffer.shape[size_t(d)]) + " is expected");
    if (arg.shape[d] == 1)
      continue;
    if (d == arg.rank - 1 && arg.strides[d] != 1)
      return refuse("has stride " + std::to_string(arg.strides[d]) +
                    " in its last dimension, but 1 is needed; make it contiguous there");
    if (arg.rank != 4 && arg.strides[d] != dense[size_t(d)])
      return refuse("must be contiguous, but has stride " + std::to_string(arg.strides[d]) + " in dimension " + dim);
    if (d < arg.rank - 1 && arg.rank == 4 && arg.strides[d] * bytes % 16)
      return refuse("has stride " + std::to_string(arg.strides[d]) + " in dimension " + dim + ", but a multiple of " +
                    std::to_string(16 / bytes) + " elements (16 bytes) is needed");
  }
  return Status();
}

namespace {
/// The parameters of one launch, on the stack.
struct ParamBlock {
  alignas(64) char maps[4][128];
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

/// A map of boxes of `rows` x `cols` of a [batch, head, sequence, head_dim] tensor.
/// Dimensions of size 1 take the dense stride: the caller's may be anything, and
/// the driver refuses those that are no multiple of 16 bytes.
static int encodeMap(const Driver &driver, const Buffer &buffer, void *data, const int64_t *strides,
                     const int64_t *dense, const Param &param, void *map) {
  int type = buffer.dtype == DType::BF16 ? kTensorMapBf16 : buffer.dtype == DType::F16 ? kTensorMapF16 : kTensorMapF32;
  const std::vector<int64_t> &shape = buffer.shape;
  uint64_t bytes = uint64_t(sizeOf(buffer.dtype));
  uint64_t dims[] = {uint64_t(shape[3]), uint64_t(shape[2]), uint64_t(shape[1]), uint64_t(shape[0])};
  auto step = [&](size_t d) { return uint64_t(shape[d] == 1 ? dense[d] : strides[d]) * bytes; };
  uint64_t steps[] = {step(2), step(1), step(0)};
  uint32_t box[] = {uint32_t(param.cols), uint32_t(param.rows), 1, 1}, ones[] = {1, 1, 1, 1};
  int swizzle = param.swizzle == 128 ? 3 : param.swizzle == 64 ? 2 : param.swizzle == 32 ? 1 : 0;
  return driver.cuTensorMapEncodeTiled(map, type, 4, data, dims, steps, box, ones, 0, swizzle, /*l2 256B=*/3, 0);
}

Status LoadedPlan::launchKernel(const Launch &launch, const TensorArg *args, char *workspace, CuStream stream) const {
  const Kernel &kernel = bundle.manifest.kernels[size_t(launch.kernel)];
  ParamBlock block;
  for (const Param &param : kernel.params) {
    size_t index = size_t(launch.operands[size_t(param.operand)]);
    const Buffer &buffer = bundle.manifest.buffers[index];
    int argument = argumentIndex[index];
    void *data = argument < 0 ? workspace + buffer.offset : args[argument].data;
    const int64_t *strides = argument < 0 ? denseStrides[index].data() : args[argument].strides;
    if (param.kind == ParamKind::Pointer) {
      block.add(reinterpret_cast<uint64_t>(data));
    } else if (param.kind == ParamKind::Stride) {
      block.add(uint64_t(strides[param.dim]));
    } else {
      if (block.mapCount == 4)
        return Status(Code::Unsupported, "kernel '" + kernel.name + "' takes more than four tensor maps");
      void *map = block.maps[block.mapCount++];
      if (int error = encodeMap(*driver, buffer, data, strides, denseStrides[index].data(), param, map))
        return driver->check(error, "encoding the tensor map of '" + buffer.name + "'");
      block.pointers[block.count++] = map;
    }
  }
  auto dim = [](int64_t size) { return unsigned(size); };
  int error = driver->cuLaunchKernel(kernels[size_t(launch.kernel)], dim(kernel.grid[0]), dim(kernel.grid[1]),
                                     dim(kernel.grid[2]), dim(kernel.block[0]), dim(kernel.block[1]),
                                     dim(kernel.block[2]), dim(kernel.sharedBytes), stream, block.pointers, nullptr);
  // The text is only made when it is needed: a launch allocates nothing.
  return error == 0 ? Status() : driver->check(error, "launching kernel '" + kernel.name + "'");
}

Status LoadedPlan::launch(const TensorArg *args, size_t count, void *workspace, int64_t bytes, CuStream stream) const {
  if (count != argumentBuffers.size())
    return Status(Code::InvalidArgument, "the plan takes " + std::to_string(argumentBuffers.size()) +
                                             " tensors, but got " + std::to_string(count));
  for (size_t i = 0; i < count; ++i) {
    Status status = checkArgument(bundle.manifest.buffers[argumentBuffers[i]], args[i]);
    if (!status.ok())
      return status;
  }
  if (bytes < workspaceBytes() || (workspaceBytes() > 0 && !workspace))
    return Status(Code::WorkspaceTooSmall, "the workspace has " + std::to_string(workspace ? bytes : 0) +
                                               " bytes, but " + std::to_string(workspaceBytes()) + " are needed");
  if (reinterpret_cast<uintptr_t>(workspace) % uintptr_t(bundle.manifest.workspaceAlign))
    return Status(Code::InvalidArgument,
                  "the workspace is not aligned to " + std::to_string(bundle.manifest.workspaceAlign) + " bytes");
  char *memory = static_cast<char *>(workspace);
  for (const Buffer &buffer : bundle.manifest.buffers) {
    if (buffer.kind != BufferKind::Zeroed)
      continue;
    auto address = reinterpret_cast<uint64_t>(memory + buffer.offset);
    if (int error = driver->cuMemsetD8Async(address, 0, size_t(buffer.bytes()), stream))
      return driver->check(error, "clearing '" + buffer.name + "'");
  }
  for (const Launch &entry : bundle.manifest.launches) {
    Status status = launchKernel(entry, args, memory, stream);
    if (!status.ok())
      return status;
  }
  return Status();
}

} // namespace fresnel::rt
