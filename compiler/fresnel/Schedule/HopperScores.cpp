//===- HopperScores.cpp - Scores of blocks, hopper family -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/HopperScores.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

/// Columns of a product: as many as keep the matrix unit busy and leave registers for two products.
static constexpr int64_t kColumns = 64;
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

/// The most queries whose group fits into few products, or 0. Their 512 rows of 256 bytes, the tiles of keys and the
/// sums take less than the shared memory there is.
static int64_t chooseTokens(RankedTensorType q, RankedTensorType k) {
  int64_t group = q.getDimSize(1) / k.getDimSize(1);
  for (int64_t tokens = kMaxTokens; tokens >= kMinTokens; tokens /= 2)
    if (HopperScoreTiles(group, tokens, 1, 1).getProducts() <= kMaxProducts)
      return tokens;
  return 0;
}

ScheduleAttr fresnel::getHopperScoresDefault(RegroupScoredOp op) {
  auto q = cast<RankedTensorType>(op.getQ().getType()), k = cast<RankedTensorType>(op.getK().getType());
  return ScheduleAttr::get(op.getContext(), Family::Hopper, chooseTokens(q, k), HopperScoreTiles::kKeys, kStages,
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
  if (chooseTokens(q, k) == 0)
    return llvm::formatv("{0} queries of each of {1} heads do not fit into {2} products of at most {3} "
                         "queries; use block_score and regroup",
                         kMinTokens, q.getDimSize(1) / k.getDimSize(1), kMaxProducts, kColumns);
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
  if (int64_t products = HopperScoreTiles(op, tileM).getProducts(); products > kMaxProducts)
    return llvm::formatv("tile_m queries of all heads must fit into {0} products of at most {1}, but need {2}; change "
                         "tile_m",
                         kMaxProducts, kColumns, products);
  if (tileN != HopperScoreTiles::kKeys)
    return llvm::formatv("tile_n must be {0}, the keys of a product, but is {1}", HopperScoreTiles::kKeys, tileN);
  if (!schedule.getPersistent())
    return "scores are persistent; set persistent = true";
  if (stages != kStages)
    return llvm::formatv("stages must be {0}, one for each consumer, but is {1}", kStages, stages);
  return "";
}
