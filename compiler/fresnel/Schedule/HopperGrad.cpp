//===- HopperGrad.cpp - Attention's gradients in the hopper family --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/HopperGrad.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;
using namespace fresnel;

/// Shared memory of a block on every GPU of the generation.
static constexpr int64_t kSharedBytes = 227 * 1024;
/// Key heads side by side: with an order, and from so many steps of a head on; without
/// one, and for wide heads, whose tiles are more for L2 to hold.
static constexpr int64_t kLongSteps = 100000, kOrderedSection = 16, kLongOrderedSection = 8, kFewSection = 4;

static RankedTensorType getTensor(Value value) { return cast<RankedTensorType>(value.getType()); }

static int64_t getInteger(Operation *op, StringRef name, int64_t otherwise) {
  auto value = op->getAttrOfType<IntegerAttr>(name);
  return value ? value.getInt() : otherwise;
}

static bool isCausal(Operation *op) {
  auto causal = op->getAttrOfType<BoolAttr>("causal");
  return causal && causal.getValue();
}

static bool isWide(int64_t headDim) { return headDim > 128; }

bool fresnel::isHopperGradWide(AttendGradOp op) { return isWide(getTensor(op.getQ()).getDimSize(3)); }

/// Keys of a thread block: 64 for each of two consumers, or 64 whose columns they share.
static int64_t getKeyRows(int64_t headDim) { return isWide(headDim) ? 64 : 128; }

/// Queries of a step: enough for a square of 64 x 64 of dQ for each consumer at least. They
/// lie side by side where the head has several panels of 64 columns, else one below the other.
static int64_t getQueryRows(int64_t headDim) { return headDim <= 64 ? 128 : 64; }

std::string fresnel::explainHopperGrad(Operation *op, const TargetInfo &target) {
  if (!target.hasWgmma)
    return llvm::formatv("family hopper needs wgmma, which {0} does not have; use portable", target.name);
  RankedTensorType q = getTensor(op->getOperand(0)), k = getTensor(op->getOperand(1)), v = getTensor(op->getOperand(2));
  if (!q.getElementType().isBF16() && !q.getElementType().isF16())
    return "the matrix units take bf16 and f16, but the tensors hold f32; convert them";
  int64_t headDim = q.getDimSize(3), valueDim = v.getDimSize(3);
  if (!llvm::is_contained({64, 96, 128, 192, 256}, headDim) || headDim != valueDim)
    return llvm::formatv(
        "the hopper gradient serves head dims 64, 96, 128, 192 and 256, equal for keys and values, but got {0} "
        "and {1}; use portable",
        headDim, valueDim);
  for (StringRef name : {"key_window", "key_stride"})
    if (int64_t value = getInteger(op, name, 1); value != 1)
      return llvm::formatv("the hopper gradient serves no pooled keys, but `{0}` is {1}; use portable", name, value);
  auto softcap = op->getAttrOfType<FloatAttr>("softcap");
  if (softcap && softcap.getValueAsDouble() > 0 && headDim <= 64)
    return llvm::formatv("the hopper gradient has no registers for a soft cap beside {0} queries, with head dim {1}; "
                         "use portable",
                         getQueryRows(headDim), headDim);
  // The first keys are to be seen by all queries: their thread block begins every sum.
  if (isCausal(op) && q.getDimSize(2) > k.getDimSize(2))
    return llvm::formatv("the hopper gradient serves causal queries that all see a key, but there are {0} queries and "
                         "{1} keys; use portable",
                         q.getDimSize(2), k.getDimSize(2));
  return "";
}

/// Shared memory of the kernel, in bytes.
static int64_t getSharedBytes(ScheduleAttr schedule, int64_t headDim, int64_t doutStages) {
  int64_t row = llvm::alignTo(2 * headDim, 128), queryRows = schedule.getTileN(), keyRows = schedule.getTileM();
  int64_t keysAndValues = 2 * keyRows * row, slots = schedule.getStages() + doutStages;
  int64_t ring = slots * queryRows * (row + 4);
  // The gradients of the scores, twice, and for wide heads the weights, too.
  int64_t scores = (isWide(headDim) ? 4 : 2) * queryRows * keyRows * 2, queryGradient = 2 * 64 * 64 * 4;
  return keysAndValues + ring + scores + queryGradient + 8 * (2 * slots + 1);
}

int64_t fresnel::getHopperGradDoutStages(ScheduleAttr schedule, AttendGradOp op) {
  int64_t stages = schedule.getStages();
  while (stages > 1 && getSharedBytes(schedule, getTensor(op.getQ()).getDimSize(3), stages) > kSharedBytes)
    --stages;
  return stages;
}

std::string fresnel::verifyHopperGrad(ScheduleAttr schedule, AttendGradOp op, const TargetInfo &target) {
  if (std::string reason = explainHopperGrad(op, target); !reason.empty())
    return reason;
  RankedTensorType k = getTensor(op.getK());
  int64_t headDim = k.getDimSize(3);
  if (int64_t rows = getKeyRows(headDim); schedule.getTileM() != rows)
    return llvm::formatv("tile_m, the keys of a thread block, must be {0} in gradients with head dim {1}, but is {2}",
                         rows, headDim, schedule.getTileM());
  if (int64_t rows = getQueryRows(headDim); schedule.getTileN() != rows)
    return llvm::formatv("tile_n, the queries of a step, must be {0} in gradients with head dim {1}, but is {2}", rows,
                         headDim, schedule.getTileN());
  if (schedule.getPersistent())
    return "gradients are not persistent; set persistent = false";
  if (!schedule.getPingPong())
    return "the consumers of gradients take no turns; leave ping_pong = true";
  if (schedule.getStages() < 1 || schedule.getStages() > 8)
    return llvm::formatv("stages must be in [1, 8], but is {0}", schedule.getStages());
  if (schedule.getSection() < 0)
    return llvm::formatv("section must be positive, or 0 for the default, but is {0}", schedule.getSection());
  int64_t blocks = llvm::divideCeil(k.getDimSize(2), schedule.getTileM()) * k.getDimSize(0) * k.getDimSize(1);
  if (blocks > std::numeric_limits<int32_t>::max())
    return llvm::formatv("{0} blocks of keys are numbered with 31 bits; split the batch", blocks);
  int64_t bytes = getSharedBytes(schedule, headDim, getHopperGradDoutStages(schedule, op));
  if (bytes > target.maxSharedBytes)
    return llvm::formatv("the tiles need {0} bytes of shared memory, but {1} has {2}; lower stages", bytes, target.name,
                         target.maxSharedBytes);
  return "";
}

ScheduleAttr fresnel::getHopperGradDefault(AttendGradOp op) {
  int64_t headDim = getTensor(op.getQ()).getDimSize(3);
  return ScheduleAttr::get(op.getContext(), Family::Hopper, getKeyRows(headDim), getQueryRows(headDim),
                           /*stages=*/2, /*persistent=*/false, /*ping_pong=*/true, /*section=*/0);
}

// Measured on an H100 under its power limit; see docs/performance.md.
int64_t fresnel::getHopperGradSection(ScheduleAttr schedule, AttendGradOp op) {
  RankedTensorType q = getTensor(op.getQ()), k = getTensor(op.getK());
  int64_t heads = k.getDimSize(0) * k.getDimSize(1), group = q.getDimSize(1) / k.getDimSize(1);
  if (schedule.getSection() > 0)
    return std::min(schedule.getSection(), heads);
  int64_t steps = int64_t(llvm::divideCeil(k.getDimSize(2), schedule.getTileM())) *
                  int64_t(llvm::divideCeil(q.getDimSize(2), schedule.getTileN())) * group / (isCausal(op) ? 2 : 1);
  int64_t section = !schedule.getOrdered() || isHopperGradWide(op) ? kFewSection
                    : steps < kLongSteps                           ? kOrderedSection
                                                                   : kLongOrderedSection;
  return std::min(section, heads);
}
