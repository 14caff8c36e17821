//===- Memory.h - What a bundle's plans need in device memory ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_MEMORY_H
#define FRESNEL_TOOLS_MEMORY_H

#include "Common.h"

#include "fresnel/Artifact/Manifest.h"

namespace fresnel::tool {

/// Members "forward_workspace_bytes", "saved": [{name, dtype, shape, offset, bytes}], ...
Json trainingMemoryJson(const rt::Manifest &manifest);

/// The same as lines of text, the saved tensors first.
std::string trainingMemoryText(const rt::Manifest &manifest);

/// ", N slices of batch and heads one after the other", or nothing for a plan that computes all at once.
std::string slicesText(const rt::Manifest &manifest);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_MEMORY_H
