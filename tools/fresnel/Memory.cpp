//===- Memory.cpp - What a bundle's plans need in device memory -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Memory.h"
#include "Tensors.h"

namespace fresnel::tool {

static int64_t roundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/// FlashAttention-2's buffers (flash_api.cpp): f32 LSE per query; for the backward
/// pass an f32 accumulator of dQ and one f32 per query, both with padded sizes, and
/// under GQA a dK and a dV per query head.
static void addFlashAttention(const rt::Buffer &q, const rt::Buffer &k, TrainingMemory &memory) {
  int64_t batch = q.shape[0], heads = q.shape[1], rows = q.shape[2], dim = q.shape[3];
  int64_t paddedRows = roundUp(rows, 128), paddedDim = dim <= 192 ? roundUp(dim, 32) : 256;
  memory.flashLse = batch * heads * rows * 4;
  memory.flashScratch = batch * heads * paddedRows * (paddedDim + 1) * 4;
  if (k.shape[1] != heads)
    memory.flashScratch += 2 * batch * heads * k.shape[2] * dim * sizeOf(k.dtype);
}

TrainingMemory measureTrainingMemory(const rt::Manifest &manifest) {
  TrainingMemory memory;
  memory.saved = manifest.savedBytes;
  memory.workspace = manifest.backward->workspaceBytes;
  bool first = true;
  for (const rt::Buffer &buffer : manifest.buffers) {
    if (buffer.kind != rt::BufferKind::Output || buffer.isSaved())
      continue;
    // A model keeps the attention output anyway: the next layer reads it.
    bool attentionOutput = buffer.name == "out" || (first && !manifest.findBuffer("out"));
    first = false;
    if (!attentionOutput && manifest.backward->findBuffer(buffer.name))
      memory.outputs += buffer.bytes();
  }
  const rt::Buffer *q = manifest.findBuffer("q"), *k = manifest.findBuffer("k");
  if (q && k && q->shape.size() == 4 && k->shape.size() == 4)
    addFlashAttention(*q, *k, memory);
  return memory;
}

Json trainingMemoryJson(const rt::Manifest &manifest) {
  TrainingMemory memory = measureTrainingMemory(manifest);
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
          {"flash_attention_bytes", memory.flashLse + memory.flashScratch}};
}

std::string trainingMemoryText(const rt::Manifest &manifest) {
  TrainingMemory memory = measureTrainingMemory(manifest);
  auto size = [](int64_t bytes) { return formatBytes(uint64_t(bytes)); };
  std::vector<std::vector<std::string>> rows = {{"saved tensor", "dtype", "shape", "size", "offset"}};
  for (const rt::Buffer &buffer : manifest.buffers)
    if (buffer.isSaved())
      rows.push_back({buffer.name, rt::nameOf(buffer.dtype), shapeText(buffer.shape), size(buffer.bytes()),
                      std::to_string(buffer.savedOffset)});
  std::string text = rows.size() > 1 ? formatTable(rows) : "";
  text += "backward: saved " + size(memory.saved) + " + kept outputs " + size(memory.outputs) + " + workspace " +
          size(memory.workspace) + " = " + size(memory.total());
  if (memory.flashLse > 0)
    text += "; FlashAttention, dense on this shape: lse " + size(memory.flashLse) + " + scratch " +
            size(memory.flashScratch) + " = " + size(memory.flashLse + memory.flashScratch);
  return text + "\n";
}

} // namespace fresnel::tool
