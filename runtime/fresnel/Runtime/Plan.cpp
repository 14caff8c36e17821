//===- Plan.cpp - A bundle loaded on one device
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Runtime/Plan.h"
#include "fresnel/Tuning/Workload.h"
#include <cctype>
#include <cstdlib>

namespace fresnel::rt {

// Values of cuda.h.
static constexpr int kJitInfoLog = 3, kJitInfoSize = 4, kJitErrorLog = 5, kJitErrorSize = 6, kJitVerbose = 12;
static constexpr int kKernelLocalBytes = 3, kKernelMaxDynamicShared = 8;
static constexpr size_t kLogBytes = 16384;

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
  return Status();
}

/// Does the JIT's log hold a warning C75xx: wgmma instructions were serialised?
static bool hasWgmmaWarning(std::string_view log) {
  for (size_t at = log.find("C75"); at != log.npos; at = log.find("C75", at + 1))
    if (at + 5 <= log.size() && std::isdigit(uint8_t(log[at + 3])) && std::isdigit(uint8_t(log[at + 4])))
      return true;
  return false;
}

/// Loads the kernel and appends its handle to `code`, warnings to `notes`.
static Status loadKernel(LoadedCode &code, size_t index, int device, std::vector<std::string> &notes) {
  const Driver *driver = code.driver.get();
  const Kernel &kernel = code.bundle.manifest.kernels[index];
  std::string info(kLogBytes, '\0'), error(kLogBytes, '\0');
  int options[] = {kJitInfoLog, kJitInfoSize, kJitErrorLog, kJitErrorSize, kJitVerbose};
  void *values[] = {info.data(), reinterpret_cast<void *>(kLogBytes), error.data(), reinterpret_cast<void *>(kLogBytes),
                    reinterpret_cast<void *>(size_t(1))};
  CuLibrary library = nullptr;
  Status status = driver->check(
      driver->cuLibraryLoadData(&library, code.bundle.ptx[index].c_str(), options, values, 5, nullptr, nullptr, 0),
      "loading kernel '" + kernel.name + "'");
  if (!status.ok()) {
    std::string log = error.c_str();
    return Status(status.code(), status.message() + (log.empty() ? "" : "\nJIT log:\n" + log));
  }
  code.libraries.push_back(library);
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
  code.kernels.push_back(handle);
  return Status();
}

/// With FRESNEL_TRACE, writes down what was loaded. Never in the way of the load.
static void trace(const Manifest &manifest, const DeviceInfo &device, std::vector<std::string> &notes) {
  const char *path = std::getenv("FRESNEL_TRACE");
  if (!path || !*path)
    return;
  Workload workload;
  workload.method = manifest.name;
  workload.parameters = manifest.parameters;
  workload.dtype = manifest.buffers.empty() ? "f32" : nameOf(manifest.buffers[0].dtype);
  workload.target = manifest.target.name;
  workload.grad = manifest.backward.has_value();
  workload.device = {device.name, device.computeMajor * 10 + device.computeMinor, device.multiprocessors};
  workload.program = manifest.program;
  if (Status status = recordWorkload(path, workload); !status.ok())
    notes.push_back("FRESNEL_TRACE: " + status.message());
}

Expected<LoadedPlan> LoadedPlan::load(std::shared_ptr<Driver> driver, Bundle bundle, int device) {
  Expected<DeviceInfo> info = driver->describe(device);
  if (!info)
    return info.status();
  Status status = checkTarget(bundle.manifest.target, *info, driver->version());
  if (!status.ok())
    return status;
  LoadedPlan plan;
  auto code = std::make_shared<LoadedCode>();
  code->driver = std::move(driver);
  code->bundle = std::move(bundle);
  code->device = device;
  status = code->driver->check(code->driver->cuDevicePrimaryCtxRetain(&code->context, device),
                               "retaining the context of GPU " + std::to_string(device));
  if (!status.ok())
    return status;
  const Manifest &manifest = code->bundle.manifest;
  for (size_t i = 0; i < manifest.kernels.size(); ++i) {
    status = checkGeometry(manifest.kernels[i], *info);
    if (status.ok())
      status = loadKernel(*code, i, device, plan.notes);
    if (!status.ok())
      return status;
  }
  trace(manifest, *info, plan.notes);
  plan.code = code;
  plan.forwardPlan.emplace(plan.code, manifest, "forward");
  if (manifest.backward)
    plan.backwardPlan.emplace(plan.code, *manifest.backward, "backward");
  return plan;
}

Expected<const PlanHandle *> LoadedPlan::backward() const {
  if (!backwardPlan)
    return Status(Code::Unsupported,
                  "the bundle '" + manifest().name + "' has no backward plan; compile the method with --grad");
  return &*backwardPlan;
}

Status LoadedPlan::launch(const TensorArg *args, size_t count, void *workspace, int64_t bytes, CuStream stream) const {
  if (savedBytes() > 0)
    return Status(Code::InvalidArgument, "the forward plan of '" + manifest().name + "' saves " +
                                             std::to_string(savedBytes()) +
                                             " bytes for the backward plan and needs a buffer for them; launch it "
                                             "with one, or compile the method without --grad");
  return forward().launch(args, count, {workspace, bytes, nullptr, 0}, stream);
}

} // namespace fresnel::rt
