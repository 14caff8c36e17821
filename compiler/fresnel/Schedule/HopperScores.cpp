//===- HopperScores.cpp - Scores of blocks, hopper family -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/HopperScores.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

/// Columns of a product, whose scores stay in registers beside a tile of keys and the sums.
static constexpr int64_t kColumns = 128;
/// Products for a tile of keys, which are written out: the addresses of more would not stay in registers.
static constexpr int64_t kMaxProducts = 8;
/// A tile of fewer queries would walk the keys too often, the sums of more would not stay in registers.
static constexpr int64_t kMinTokens = 8, kMaxTokens = 32;

HopperScoreTiles::HopperScoreTiles(RegroupScoredOp op, int64_t tokens)
    : HopperScoreTiles(cast<RankedTensorType>(op.getQ().getType()).getDimSize(1) /
                           cast<RankedTensorType>(op.getK().getType()).getDimSize(1),
                       tokens, op.getWindow() / op.getStride(), op.getBlock() / op.getStride()) {}

HopperScoreTiles::HopperScoreTiles(int64_t group, int64_t tokens, int64_t windowCells, int64_t blockCells)
    : group(group), tokens(tokens), heads(1), windowCells(windowCells), blockCells(blockCells) {
  for (int64_t side = 2; side * tokens <= kColumns; ++side)
    if (group % side == 0)
      heads = side;
}

/// Each consumer has a tile of keys of its own: it is free once the consumer has it in registers.
static constexpr int64_t kStages = HopperScoreTiles::kConsumers;

int64_t HopperScoreTiles::getSharedBytes(int64_t depth) const {
  int64_t row = 2 * llvm::alignTo(depth, 64), queries = group * tokens;
  // The rows of sums are padded by 16 bytes.
  int64_t sums = tokens * (kKeys * 4 + 16), edges = tokens * std::max<int64_t>(getLeadingKeys(), 1) * 4;
  int64_t barriers = 3 * kConsumers + 5 + getProducts();
  return (queries + kStages * kKeys) * row + kConsumers * (sums + edges) + 2 * queries * 4 + barriers * 8;
}

static HopperScoreTiles makeTiles(RankedTensorType q, RankedTensorType k, int64_t tokens, int64_t window,
                                  int64_t stride, int64_t block) {
  return HopperScoreTiles(q.getDimSize(1) / k.getDimSize(1), tokens, window / stride, block / stride);
}

/// The most queries whose group fits into few products and into shared memory, or 0.
static int64_t chooseTokens(RankedTensorType q, RankedTensorType k, int64_t window, int64_t stride, int64_t block,
                            const TargetInfo &target) {
  for (int64_t tokens = kMaxTokens; tokens >= kMinTokens; tokens /= 2) {
    HopperScoreTiles tiles = makeTiles(q, k, tokens, window, stride, block);
    if (tiles.getProducts() <= kMaxProducts && tiles.getSharedBytes(q.getDimSize(3)) <= target.maxSharedBytes)
      return tokens;
  }
  return 0;
}

ScheduleAttr fresnel::getHopperScoresDefault(RegroupScoredOp op, const TargetInfo &target) {
  auto q = cast<RankedTensorType>(op.getQ().getType()), k = cast<RankedTensorType>(op.getK().getType());
  int64_t tokens = chooseTokens(q, k, op.getWindow(), op.getStride(), op.getBlock(), target);
  return ScheduleAttr::get(op.getContext(), Family::Hopper, tokens, HopperScoreTiles::kKeys, kStages,
                           /*persistent=*/true, /*ping_pong=*/true, /*section=*/0);
}

std::string fresnel::explainHopperScores(RankedTensorType q, RankedTensorType k, int64_t window, int64_t stride,
                                         int64_t block, const TargetInfo &target) {
  if (!target.hasWgmma)
    return llvm::formatv("scores of blocks without those of windows need wgmma, which {0} does not have; use "
                         "block_score and regroup",
                         target.name);
  if (!q.getElementType().isBF16() && !q.getElementType().isF16())
    return "the matrix units take bf16 and f16, but the tensors hold f32; convert them";
  if (!llvm::is_contained({64, 96, 128}, q.getDimSize(3)))
    return llvm::formatv("scores of blocks serve head dims 64, 96 and 128, but got {0}; use block_score and regroup",
                         q.getDimSize(3));
  if (int64_t cells = window / stride + block / stride - 1; cells > HopperScoreTiles::kKeys)
    return llvm::formatv("a block and the windows that reach into it must have at most {0} windows, but have {1}; use "
                         "block_score and regroup",
                         HopperScoreTiles::kKeys, cells);
  if (chooseTokens(q, k, window, stride, block, target) == 0) {
    HopperScoreTiles least = makeTiles(q, k, kMinTokens, window, stride, block);
    return llvm::formatv("{0} queries of each of {1} heads take {2} products of at most {3} and {4} bytes of shared "
                         "memory, but there are {5} and {6}; use block_score and regroup",
                         kMinTokens, least.group, least.getProducts(), kColumns, least.getSharedBytes(q.getDimSize(3)),
                         kMaxProducts, target.maxSharedBytes);
  }
  return "";
}

std::string fresnel::verifyHopperScores(ScheduleAttr schedule, RegroupScoredOp op, const TargetInfo &target) {
  auto q = cast<RankedTensorType>(op.getQ().getType()), k = cast<RankedTensorType>(op.getK().getType());
  if (std::string reason = explainHopperScores(q, k, op.getWindow(), op.getStride(), op.getBlock(), target);
      !reason.empty())
    return reason;
  int64_t tileM = schedule.getTileM(), tileN = schedule.getTileN(), stages = schedule.getStages();
  if (!llvm::isPowerOf2_64(tileM) || tileM < kMinTokens || tileM > kMaxTokens)
    return llvm::formatv("tile_m, the queries of a block, must be a power of two in [{0}, {1}], but is {2}", kMinTokens,
                         kMaxTokens, tileM);
  HopperScoreTiles tiles(op, tileM);
  if (int64_t products = tiles.getProducts(); products > kMaxProducts)
    return llvm::formatv("tile_m queries of all heads must fit into {0} products of at most {1}, but need {2}; change "
                         "tile_m",
                         kMaxProducts, kColumns, products);
  if (int64_t bytes = tiles.getSharedBytes(q.getDimSize(3)); bytes > target.maxSharedBytes)
    return llvm::formatv("tile_m queries of all heads need {0} bytes of shared memory, of {1}; lower tile_m", bytes,
                         target.maxSharedBytes);
  if (tileN != HopperScoreTiles::kKeys)
    return llvm::formatv("tile_n must be {0}, the keys of a product, but is {1}", HopperScoreTiles::kKeys, tileN);
  if (!schedule.getPersistent())
    return "scores are persistent; set persistent = true";
  if (stages != kStages)
    return llvm::formatv("stages must be {0}, one for each consumer, but is {1}", kStages, stages);
  return "";
}
