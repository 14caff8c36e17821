//===- Memory.cpp - What a bundle's plans need in device memory -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Memory.h"
#include "Tensors.h"

#include "fresnel/Artifact/TrainingMemory.h"

namespace fresnel::tool {

Json trainingMemoryJson(const rt::Manifest &manifest) {
  rt::TrainingMemory memory = rt::measureTrainingMemory(manifest);
  Json saved = Json::array();
  for (const rt::Buffer &buffer : manifest.buffers)
    if (buffer.isSaved())
      saved.push_back({{"name", buffer.name},
                       {"dtype", rt::nameOf(buffer.dtype)},
                       {"shape", buffer.shape},
                       {"offset", buffer.savedOffset},
                       {"bytes", buffer.bytes()}});
  return {{"forward_workspace_bytes", manifest.workspaceBytes},
          {"saved", saved},
          {"saved_bytes", memory.saved},
          {"kept_output_bytes", memory.outputs},
          {"backward_workspace_bytes", memory.workspace},
          {"total_bytes", memory.total()},
          {"flash_attention_bytes", memory.flashTotal()}};
}

std::string slicesText(const rt::Manifest &manifest) {
  int64_t count = rt::countSlices(manifest.slices);
  return count == 1 ? "" : ", " + std::to_string(count) + " slices of batch and heads one after the other";
}

std::string trainingMemoryText(const rt::Manifest &manifest) {
  rt::TrainingMemory memory = rt::measureTrainingMemory(manifest);
  auto size = [](int64_t bytes) { return formatBytes(uint64_t(bytes)); };
  std::vector<std::vector<std::string>> rows = {
      {rt::countSlices(manifest.slices) == 1 ? "saved tensor" : "saved tensor, of a slice", "dtype", "shape", "size",
       "offset"}};
  for (const rt::Buffer &buffer : manifest.buffers)
    if (buffer.isSaved())
      rows.push_back({buffer.name, rt::nameOf(buffer.dtype), shapeText(buffer.shape), size(buffer.bytes()),
                      std::to_string(buffer.savedOffset)});
  std::string text = rows.size() > 1 ? formatTable(rows) : "";
  text += "backward: saved " + size(memory.saved) + " + kept outputs " + size(memory.outputs) + " + workspace " +
          size(memory.workspace) + " = " + size(memory.total());
  if (memory.flashLse > 0)
    text += "; FlashAttention, dense on this shape: lse " + size(memory.flashLse) + " + scratch " +
            size(memory.flashScratch) + " = " + size(memory.flashTotal());
  return text + "\n";
}

} // namespace fresnel::tool
