//===- TrainingMemory.cpp - What a training step keeps on the device
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/TrainingMemory.h"

namespace fresnel::rt {

static int64_t roundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/// FlashAttention-2's buffers (flash_api.cpp): f32 LSE per query; for the backward
/// pass an f32 accumulator of dQ and one f32 per query, both with padded sizes, and
/// under GQA a dK and a dV per query head.
static void addFlashAttention(const Buffer &q, const Buffer &k, TrainingMemory &memory) {
  int64_t batch = q.shape[0], heads = q.shape[1], rows = q.shape[2], dim = q.shape[3];
  int64_t paddedRows = roundUp(rows, 128), paddedDim = dim <= 192 ? roundUp(dim, 32) : 256;
  memory.flashLse = batch * heads * rows * 4;
  memory.flashScratch = batch * heads * paddedRows * (paddedDim + 1) * 4;
  if (k.shape[1] != heads)
    memory.flashScratch += 2 * batch * heads * k.shape[2] * dim * sizeOf(k.dtype);
}

TrainingMemory measureTrainingMemory(const Manifest &manifest) {
  TrainingMemory memory;
  memory.saved = manifest.savedBytes;
  memory.workspace = manifest.backward->workspaceBytes;
  bool first = true;
  for (const Buffer &buffer : manifest.buffers) {
    if (buffer.kind != BufferKind::Output || buffer.isSaved())
      continue;
    // A model keeps the attention output anyway: the next layer reads it.
    bool attentionOutput = buffer.name == "out" || (first && !manifest.findBuffer("out"));
    first = false;
    if (!attentionOutput && manifest.backward->findBuffer(buffer.name))
      memory.outputs += buffer.bytes();
  }
  const Buffer *q = manifest.findBuffer("q"), *k = manifest.findBuffer("k");
  if (q && k && q->shape.size() == 4 && k->shape.size() == 4)
    addFlashAttention(*q, *k, memory);
  return memory;
}

} // namespace fresnel::rt
