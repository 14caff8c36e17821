//===- Plan.h - A loaded bundle, ready to launch
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_RUNTIME_PLAN_H
#define FRESNEL_RUNTIME_PLAN_H

#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Runtime/Driver.h"
#include <vector>

namespace fresnel::rt {

/// A caller's tensor on the device: logical shape, strides in elements. The
/// innermost stride is 1; tensors of rank 4 may have any other strides (both
/// [B, N, H, D] and [B, H, N, D] memory run), the others are contiguous.
struct TensorArg {
  void *data = nullptr;
  DType dtype = DType::F32;
  const int64_t *shape = nullptr;
  const int64_t *strides = nullptr;
  int rank = 0;
};

/// A bundle loaded on one device. Immutable once loaded: `launch` may be called
/// from several threads and streams at once.
class LoadedPlan {
public:
  /// Checks that the device and the driver can run the code, loads it (the
  /// library is independent of contexts) and resolves the kernels. PTX that the
  /// driver rejects comes back with the JIT's log.
  static Expected<LoadedPlan> load(std::shared_ptr<Driver> driver, Bundle bundle, int device);
  LoadedPlan(LoadedPlan &&) noexcept;
  LoadedPlan &operator=(LoadedPlan &&) noexcept;
  ~LoadedPlan();

  const Manifest &manifest() const { return bundle.manifest; }
  int64_t workspaceBytes() const { return bundle.manifest.workspaceBytes; }
  /// Inputs and outputs, in the order in which `launch` takes them.
  const std::vector<size_t> &arguments() const { return argumentBuffers; }
  /// What the JIT said that matters: serialised wgmma, local memory.
  const std::vector<std::string> &warnings() const { return notes; }

  /// Launches all kernels on the caller's stream, in the current context.
  /// `args` holds one tensor per entry of `arguments()`; `workspace` at least
  /// `workspaceBytes()` bytes of device memory aligned to 256. Checks the
  /// tensors, allocates nothing, waits for nothing, and can be captured.
  Status launch(const TensorArg *args, size_t count, void *workspace, int64_t bytes, CuStream stream) const;

private:
  LoadedPlan() = default;
  Status loadKernel(size_t index, int device);
  Status checkArgument(const Buffer &buffer, const TensorArg &arg) const;
  Status launchKernel(const Launch &launch, const TensorArg *args, char *workspace, CuStream stream) const;

  std::shared_ptr<Driver> driver;
  Bundle bundle;
  std::vector<CuLibrary> libraries;
  std::vector<CuKernel> kernels;
  std::vector<size_t> argumentBuffers;
  /// Position among the arguments, per buffer; -1 for temporaries.
  std::vector<int> argumentIndex;
  /// Contiguous strides, per buffer.
  std::vector<std::vector<int64_t>> denseStrides;
  std::vector<std::string> notes;
};

} // namespace fresnel::rt

#endif // FRESNEL_RUNTIME_PLAN_H
