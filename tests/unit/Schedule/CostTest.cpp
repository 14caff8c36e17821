//===- CostTest.cpp - Bytes and FLOPs of operations
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/Cost.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace fresnel;

namespace {

class CostTest : public testing::Test {
protected:
  CostTest() { context.loadDialect<FresnelDialect>(); }

  /// The first operation of a program with these inputs and operations.
  Operation *parse(const std::string &inputs, const std::string &operations) {
    module = parseSourceString<ModuleOp>(
        "fresnel.program @p(" + inputs + ") {\n" + operations + "\nfresnel.return {names = []}\n}\n", &context);
    EXPECT_TRUE(bool(module));
    return &(*module->getOps<ProgramOp>().begin()).getBody().front().front();
  }

  /// Attention of 2 query heads, 1 key head; q has 6 rows and k as many as said, D 32.
  Operation *parseAttend(int64_t keys, const std::string &attributes) {
    std::string k = "tensor<1x1x" + std::to_string(keys) + "x32xbf16>", q = "tensor<1x2x6x32xbf16>";
    return parse("%q: " + q + ", %k: " + k,
                 "%o, %l = fresnel.attend %q, %k, %k {" + attributes + "} : " + q + ", " + k + ", " + k);
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

} // namespace

TEST_F(CostTest, AttentionCountsWhatItsMasksAllow) {
  EXPECT_EQ(countVisiblePairs(parseAttend(6, "")), 36);
  EXPECT_EQ(countVisiblePairs(parseAttend(6, "causal = true")), 21);
  // The last query sees every key; with fewer keys than queries the first ones see none.
  EXPECT_EQ(countVisiblePairs(parseAttend(8, "causal = true")), 3 + 4 + 5 + 6 + 7 + 8);
  EXPECT_EQ(countVisiblePairs(parseAttend(4, "causal = true")), 0 + 0 + 1 + 2 + 3 + 4);
  EXPECT_EQ(countVisiblePairs(parseAttend(6, "causal = true, window = 2")), 1 + 2 * 5);
  EXPECT_EQ(countVisiblePairs(parseAttend(6, "causal = true, window = 2, sinks = 1")), 1 + 2 + 3 * 4);
  // Key j stands for the tokens 2j and 2j + 1, the second of which must be visible.
  EXPECT_EQ(countVisiblePairs(parseAttend(3, "causal = true, key_window = 2, key_stride = 2")), 0 + 1 + 1 + 2 + 2 + 3);
}

TEST_F(CostTest, AttentionMovesEachTensorOnce) {
  OperationCost cost = getCost(parseAttend(8, "causal = true"));
  EXPECT_EQ(cost.bytesRead, 2 * 6 * 32 * 2 + 2 * (8 * 32 * 2));
  EXPECT_EQ(cost.bytesWritten, 2 * 6 * 32 * 2 + 2 * 6 * 4);
  EXPECT_EQ(cost.flops, 2 * 33 * 2 * (32 + 32));
  EXPECT_TRUE(cost.exact);
}

TEST_F(CostTest, GatedRowsAreReadOnce) {
  std::string x = "tensor<1x2x100x64xbf16>", l = "tensor<1x2x100xf32>", g = "tensor<1x2x100x2xbf16>";
  OperationCost cost = getCost(parse("%x: " + x + ", %y: " + x + ", %l: " + l + ", %g: " + g,
                                     "%d:4 = fresnel.gate_delta %g dout %y of %x, %x, %l, %l {activation = "
                                     "#fresnel<activation sigmoid>, deltas = array<i64: 0>, stats = array<i64: 1>} : " +
                                         g + ", " + x + " of " + x + ", " + x + ", " + l + ", " + l));
  EXPECT_EQ(cost.bytesRead, 3 * 2 * 100 * 64 * 2 + 2 * 2 * 100 * 4 + 2 * 100 * 2 * 2);
  EXPECT_EQ(cost.bytesWritten, 2 * 2 * 100 * 4 + 2 * 2 * 128 * 4 + 2 * 100 * 2 * 2);
  EXPECT_EQ(cost.flops, 2 * 2 * (2 * 100 * 64));
  EXPECT_TRUE(cost.exact);
}

TEST_F(CostTest, SelectedBlocksGiveAnUpperBound) {
  std::string t = "tensor<1x1x64x32xbf16>", i = "tensor<1x1x4x1xi32>";
  Operation *op = parse("%q: " + t + ", %b: " + i, "%o, %l = fresnel.attend %q, %q, %q blocks(%b : " + i +
                                                       ") {causal = true, query_block = 16, key_block = 16} : " + t +
                                                       ", " + t + ", " + t);
  EXPECT_EQ(countVisiblePairs(op), 16 * 17 / 2 + 48 * 16);
  EXPECT_FALSE(getCost(op).exact);
}

TEST_F(CostTest, DocumentsGiveAnUpperBound) {
  std::string t = "tensor<1x1x64x32xbf16>", d = "tensor<1x2x64xi32>";
  Operation *op = parse("%q: " + t + ", %d: " + d, "%o, %l = fresnel.attend %q, %q, %q documents(%d : " + d +
                                                       ") {causal = true} : " + t + ", " + t + ", " + t);
  EXPECT_EQ(countVisiblePairs(op), 64 * 65 / 2);
  EXPECT_FALSE(getCost(op).exact);
}

TEST_F(CostTest, TransposedListsCountLikeTheListTheyCameFrom) {
  std::string t = "tensor<1x1x64x32xbf16>", l = "tensor<1x1x64xf32>", i = "tensor<1x1x4x1xi32>";
  auto pairs = [&](const std::string &attributes) {
    return countVisiblePairs(parse("%q: " + t + ", %l: " + l + ", %b: " + i,
                                   "%k, %v = fresnel.attend_grad_kv %q, %q, %q lse %l delta %l dout %q blocks(%b : " +
                                       i + ") {query_block = 16, key_block = 16, transposed = true" + attributes +
                                       "} : " + t + ", " + t + ", " + t + ", " + l + ", " + l + ", " + t));
  };
  EXPECT_EQ(pairs(", listed = 1"), 64 * 16);
  EXPECT_EQ(pairs(""), 64 * 64);
}

TEST_F(CostTest, ScoresTakeAProductPerRowAndPooledKey) {
  std::string q = "tensor<1x4x64x32xbf16>", k = "tensor<1x2x8x32xbf16>";
  EXPECT_EQ(
      getCost(parse("%q: " + q + ", %k: " + k,
                    "%s = fresnel.block_score %q, %k {normalize = #fresnel<normalize softmax>, group_sum = true} : " +
                        q + ", " + k))
          .flops,
      2 * 4 * 64 * 8 * 32);
  EXPECT_EQ(getCost(parse("%q: " + q + ", %k: " + k,
                          "%s = fresnel.select_scored %q, %k {topk = 2, key_block = 8} : " + q + ", " + k))
                .flops,
            2 * 4 * 64 * 8 * 32);
}

TEST_F(CostTest, HiddenScoresCostNothing) {
  std::string q = "tensor<1x4x64x32xbf16>", k = "tensor<1x2x8x32xbf16>";
  // Row m sees (m + 1) div 8 keys.
  EXPECT_EQ(getCost(parse("%q: " + q + ", %k: " + k,
                          "%s = fresnel.block_score %q, %k {causal = true, key_window = 8, key_stride = 8} : " + q +
                              ", " + k))
                .flops,
            2 * 4 * (8 * 28 + 8) * 32);
  std::string c = "tensor<1x2x7x32xbf16>", l = "tensor<1x4x64xf32>";
  EXPECT_EQ(getCost(parse("%q: " + q + ", %k: " + c + ", %l: " + l,
                          "%s = fresnel.regroup_scored %q, %k lse %l {causal = true, window = 16, stride = 8, block = "
                          "16, seq_len = 64} : " +
                              q + ", " + c + ", " + l))
                .flops,
            2 * 4 * (8 * 21 + 7) * 32);
}

TEST_F(CostTest, GathersReadNoMoreThanTheyWrite) {
  OperationCost cost = getCost(parse("%x: tensor<1x2x1000x32xbf16>, %i: tensor<1x2x50xi32>",
                                     "%y = fresnel.gather %x, %i : tensor<1x2x1000x32xbf16>, tensor<1x2x50xi32>"));
  EXPECT_EQ(cost.bytesRead, 2 * 50 * 4 + 2 * 50 * 32 * 2);
  EXPECT_EQ(cost.bytesWritten, 2 * 50 * 32 * 2);
  EXPECT_EQ(cost.flops, 0);
  EXPECT_FALSE(cost.exact);
}

TEST_F(CostTest, FoldingMovesRowsAndWritesPadding) {
  OperationCost fold = getCost(parse("%x: tensor<1x2x5x32xbf16>", "%y = fresnel.fold %x {factor = 4} : "
                                                                  "tensor<1x2x5x32xbf16>"));
  EXPECT_EQ(fold.bytesRead, 2 * 5 * 32 * 2);
  EXPECT_EQ(fold.bytesWritten, 8 * 2 * 32 * 2);
  OperationCost unfold = getCost(parse("%x: tensor<1x8x2xf32>", "%y = fresnel.unfold %x {factor = 4, seq_len = 5} : "
                                                                "tensor<1x8x2xf32>"));
  EXPECT_EQ(unfold.bytesRead, 2 * 5 * 4);
  EXPECT_EQ(unfold.bytesWritten, 2 * 5 * 4);
  EXPECT_EQ(unfold.flops, 0);
}

TEST_F(CostTest, PoolingReadsItsRowsOnce) {
  OperationCost cost = getCost(parse("%x: tensor<1x2x64x32xbf16>",
                                     "%r, %n = fresnel.pool_levels %x {levels = 3, factor = 4, norms = true} : "
                                     "tensor<1x2x64x32xbf16>"));
  EXPECT_EQ(cost.bytesRead, 2 * 64 * 32 * 2);
  EXPECT_EQ(cost.bytesWritten, 2 * (16 + 4) * 32 * 2 + 2 * (64 + 16 + 4) * 4);
  EXPECT_EQ(cost.flops, 4 * 2 * 64 * 32);
  EXPECT_TRUE(cost.exact);
}
