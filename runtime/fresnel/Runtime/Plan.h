//===- Plan.h - A bundle loaded on one device
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_RUNTIME_PLAN_H
#define FRESNEL_RUNTIME_PLAN_H

#include "fresnel/Runtime/PlanHandle.h"
#include <optional>

namespace fresnel::rt {

/// A bundle loaded on one device: a forward plan, and a backward plan if it was
/// compiled with gradients. Immutable once loaded, hence thread-safe.
class LoadedPlan {
public:
  /// Checks that the device and the driver can run the code, loads it (the
  /// library is independent of contexts) and resolves the kernels. PTX that the
  /// driver rejects comes back with the JIT's log. Not to be called while a stream
  /// is captured.
  static Expected<LoadedPlan> load(std::shared_ptr<Driver> driver, Bundle bundle, int device);

  const Manifest &manifest() const { return code->bundle.manifest; }
  /// Of the bundle (digestOf): processes of equal digests launch the same kernels.
  std::string digest() const { return digestOf(code->bundle); }
  /// What the JIT said that matters: serialised wgmma, local memory.
  const std::vector<std::string> &warnings() const { return notes; }

  const PlanHandle &forward() const { return *forwardPlan; }
  bool hasBackward() const { return backwardPlan.has_value(); }
  /// The backward plan; Unsupported where the bundle has none.
  Expected<const PlanHandle *> backward() const;
  /// Size of the buffer that goes from a forward to its backward launch; 0 where
  /// the backward plan reads inputs and outputs only.
  int64_t savedBytes() const { return manifest().savedBytes; }

  /// Short forms for the forward plan.
  int64_t workspaceBytes() const { return forward().workspaceBytes(); }
  const std::vector<size_t> &arguments() const { return forward().arguments(); }
  /// Refused where `savedBytes()` is not 0: what it saves needs a place.
  Status launch(const TensorArg *args, size_t count, void *workspace, int64_t bytes, CuStream stream) const;

private:
  LoadedPlan() = default;

  std::shared_ptr<const LoadedCode> code;
  std::optional<PlanHandle> forwardPlan, backwardPlan;
  std::vector<std::string> notes;
};

} // namespace fresnel::rt

#endif // FRESNEL_RUNTIME_PLAN_H
