//===- PlanHandle.h - One plan of a loaded bundle, ready to launch
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_RUNTIME_PLANHANDLE_H
#define FRESNEL_RUNTIME_PLANHANDLE_H

#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Runtime/Driver.h"
#include <memory>
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

/// Device memory that a launch uses besides its tensors; the caller owns both
/// buffers, each aligned to 256 bytes. The workspace is free again when the launch
/// has run. What a forward launch leaves in `saved` is read by the backward launch
/// and must not change in between; one pair of launches needs one such buffer.
struct LaunchMemory {
  void *workspace = nullptr;
  int64_t workspaceBytes = 0;
  void *saved = nullptr;
  int64_t savedBytes = 0;
};

/// A bundle whose code is on a device; the code is unloaded with the last owner.
struct LoadedCode {
  std::shared_ptr<Driver> driver;
  Bundle bundle;
  std::vector<CuLibrary> libraries;
  /// One per kernel of the manifest.
  std::vector<CuKernel> kernels;
  int device = 0;
  /// The device's primary context, retained while the code is loaded; null before.
  CuContext context = nullptr;

  LoadedCode() = default;
  LoadedCode(const LoadedCode &) = delete;
  LoadedCode &operator=(const LoadedCode &) = delete;
  ~LoadedCode();

  /// Makes the context current on a thread that has none, as a framework's workers
  /// do not; refuses one that is another's.
  Status bindContext() const;
};

class TensorMapCache;

/// The forward or the backward plan of a loaded bundle. A handle keeps the code
/// alive, may be copied, and is immutable to its users: `launch` may be called from
/// several threads and on several streams at once.
class PlanHandle {
public:
  /// `plan` is one of the plans of `code`'s manifest.
  PlanHandle(std::shared_ptr<const LoadedCode> code, const Plan &plan, std::string name);

  const Plan &plan() const { return *description; }
  /// Device memory that a launch needs besides its tensors, in bytes, aligned to 256.
  int64_t workspaceBytes() const { return description->workspaceBytes; }
  /// Bytes that it writes for the backward plan, or reads if it is that.
  int64_t savedBytes() const { return code->bundle.manifest.savedBytes; }
  /// Indices of the buffers that `launch` takes, in its order: what the plan reads
  /// and writes, apart from temporaries and saved tensors. A tensor of the backward
  /// plan that has the name of one of the forward plan is that tensor.
  const std::vector<size_t> &arguments() const { return argumentBuffers; }

  /// Launches all kernels on the caller's stream. The device's primary context must
  /// be current; on a thread that has no context it becomes so.
  /// `args` holds one tensor per entry of `arguments()`. Checks tensors and memory
  /// before the first launch, allocates nothing, waits for nothing, and can be
  /// captured into a graph.
  Status launch(const TensorArg *args, size_t count, const LaunchMemory &memory, CuStream stream) const;

  /// The parts of `launch`, for those who measure kernels one by one: clears what
  /// must be zero when the plan begins, and launches the step of that index (the first
  /// of a later slice clears by itself). They
  /// check nothing: `launch` must have accepted the same tensors and memory, and
  /// steps only work in the plan's order.
  Status clear(const LaunchMemory &memory, CuStream stream) const;
  Status launchStep(size_t index, const TensorArg *args, const LaunchMemory &memory, CuStream stream) const;

private:
  /// Sorts `clears` and joins neighbours.
  void joinClears();
  Status checkArgument(const Buffer &buffer, const TensorArg &arg) const;
  /// Kernels write without looking who reads: an output must not lie where another tensor does.
  Status checkPlaces(const TensorArg *args) const;
  Status checkMemory(const LaunchMemory &memory) const;
  char *placeOf(const Buffer &buffer, const LaunchMemory &memory, int64_t slice) const;
  /// Whether a slice other than the first begins with this launch of the plan: it has the workspace that the one before
  /// has left, so that it does not start beside it, and what must be zero is cleared again.
  bool startsSlice(const Launch &launch) const;
  Status launchKernel(const Launch &launch, const TensorArg *args, const LaunchMemory &memory, CuStream stream,
                      bool dependent) const;

  std::shared_ptr<const LoadedCode> code;
  /// Inside `code`.
  const Plan *description;
  /// "forward" or "backward", for errors.
  std::string name;
  std::vector<size_t> argumentBuffers;
  /// Position among the arguments, per buffer; -1 for the others.
  std::vector<int> argumentIndex;
  /// Contiguous strides, per buffer.
  std::vector<std::vector<int64_t>> denseStrides;
  /// What `clear` does. Buffers with nothing but padding between them are cleared at once.
  struct Clear {
    /// The first of the buffers, for errors.
    size_t buffer;
    int64_t offset, bytes;
  };
  std::vector<Clear> clears;
  /// Of all launches, one after the other; copies of the handle share it.
  std::shared_ptr<TensorMapCache> maps;
  /// Number of the first tensor map of each launch.
  std::vector<size_t> firstMap;
};

} // namespace fresnel::rt

#endif // FRESNEL_RUNTIME_PLANHANDLE_H
