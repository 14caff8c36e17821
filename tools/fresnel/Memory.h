//===- Memory.h - What a bundle's plans need in device memory ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_MEMORY_H
#define FRESNEL_TOOLS_MEMORY_H

#include "Common.h"

#include "fresnel/Artifact/Manifest.h"

namespace fresnel::tool {

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
};

/// Of a manifest with a backward plan.
TrainingMemory measureTrainingMemory(const rt::Manifest &manifest);

/// Members "forward_workspace_bytes", "saved": [{name, dtype, shape, offset, bytes}], ...
Json trainingMemoryJson(const rt::Manifest &manifest);

/// The same as lines of text, the saved tensors first.
std::string trainingMemoryText(const rt::Manifest &manifest);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_MEMORY_H
