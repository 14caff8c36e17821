//===- TrainingMemory.h - What a training step keeps on the device
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_TRAININGMEMORY_H
#define FRESNEL_ARTIFACT_TRAININGMEMORY_H

#include "fresnel/Artifact/Manifest.h"

namespace fresnel::rt {

/// What a training step keeps on the device beside inputs, the first output and
/// their gradients, in bytes; docs/training.md has the formulas.
struct TrainingMemory {
  /// The saved tensors, and the further outputs that the backward plan reads.
  int64_t saved = 0, outputs = 0;
  int64_t workspace = 0;
  /// FlashAttention's LSE and scratch for dense attention on the same q and k; 0
  /// where the method has no such inputs.
  int64_t flashLse = 0, flashScratch = 0;

  int64_t total() const { return saved + outputs + workspace; }
  int64_t flashTotal() const { return flashLse + flashScratch; }
};

/// Of a manifest with a backward plan.
TrainingMemory measureTrainingMemory(const Manifest &manifest);

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_TRAININGMEMORY_H
