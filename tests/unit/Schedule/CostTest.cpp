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

  /// The first operation of a kind in what was parsed last.
  template <typename Op>
  Operation *find() {
    Operation *found = nullptr;
    module->walk([&](Op op) { found = found ? found : op.getOperation(); });
    return found;
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

TEST_F(CostTest, DocumentsOfKnownLengthsAreCounted) {
  std::string t = "tensor<1x1x64x32xbf16>", d = "tensor<1x2x64xi32>";
  auto attend = [&](const std::string &bounds, const std::string &attributes) {
    parse("%q: " + t, bounds + "\n%o, %l = fresnel.attend %q, %q, %q documents(%d : " + d + ") {" + attributes +
                          "} : " + t + ", " + t + ", " + t);
    return find<AttendOp>();
  };
  std::string known = "%d = fresnel.document_bounds {documents = array<i64: 20, 0, 44>, seq_len = 64}";
  EXPECT_EQ(countVisiblePairs(attend(known, "causal = true")), 20 * 21 / 2 + 44 * 45 / 2);
  EXPECT_EQ(countVisiblePairs(attend(known, "")), 20 * 20 + 44 * 44);
  EXPECT_EQ(countVisiblePairs(attend(known, "causal = true, window = 3")), (1 + 2 + 18 * 3) + (1 + 2 + 42 * 3));
  EXPECT_TRUE(getCost(attend(known, "causal = true")).exact);
  std::string narrowed = "%e = fresnel.document_bounds {documents = array<i64: 20, 44>, seq_len = 64}\n"
                         "%d = fresnel.narrow_bounds %e {window = 3} : " +
                         d;
  EXPECT_EQ(countVisiblePairs(attend(narrowed, "causal = true")), (1 + 2 + 18 * 3) + (1 + 2 + 42 * 3));
}

TEST_F(CostTest, PooledKeysOfDocumentsOfKnownLengthsAreCounted) {
  std::string t = "tensor<1x1x16x32xbf16>", k = "tensor<1x1x4x32xbf16>", d = "tensor<1x2x16xi32>";
  std::string program =
      "fresnel.program @p(%q: " + t + ", %k: " + k + ") {\n" +
      "%b, %c, %t, %from, %to = fresnel.align_documents {seq_len = 14, block = 8, documents = array<i64: 6, 8>}\n" +
      "%o, %l = fresnel.attend %q, %k, %k documents(%b : " + d +
      ") {causal = true, key_window = 4, key_stride = 4} : " + t + ", " + k + ", " + k + "\n" +
      "%s = fresnel.block_score %q, %k documents(%b : " + d +
      ") {causal = true, key_window = 4, key_stride = 4} : " + t + ", " + k + "\nfresnel.return {names = []}\n}\n";
  module = parseSourceString<ModuleOp>(program, &context);
  ASSERT_TRUE(bool(module));
  // Each document has the keys of its own 8 places.
  int64_t pairs = 2 * (3 * 0 + 4 * 1 + 1 * 2);
  EXPECT_EQ(countVisiblePairs(find<AttendOp>()), pairs);
  EXPECT_EQ(getCost(find<BlockScoreOp>()).flops, 2 * pairs * 32);
  EXPECT_TRUE(getCost(find<BlockScoreOp>()).exact);
}

/// The lengths stand in a kernel of the forward half, which hands the bounds to the backward half.
TEST_F(CostTest, LengthsAreFoundInOtherKernels) {
  std::string t = "tensor<1x1x64x32xbf16>", l = "tensor<1x1x64xf32>", d = "tensor<1x2x64xi32>";
  module = parseSourceString<ModuleOp>(
      "fresnel.program @bounds() attributes {fresnel.kernel} {\n"
      "%0 = fresnel.document_bounds {documents = array<i64: 32, 32>, seq_len = 64}\n"
      "fresnel.return %0 {names = [\"out0\"]} : " +
          d + "\n}\n" + "fresnel.program @grad(%q: " + t + ", %l: " + l + ", %d: " + d +
          ") attributes {fresnel.kernel} {\n" +
          "%0 = fresnel.attend_grad_q %q, %q, %q lse %l delta %l dout %q documents(%d : " + d + ") {causal = true} : " +
          t + ", " + t + ", " + t + ", " + l + ", " + l + ", " + t + "\nfresnel.return %0 {names = [\"out0\"]} : " + t +
          "\n}\n" + "fresnel.program @p(%q: " + t + ") {\n%0 = fresnel.launch @bounds() : () -> " + d +
          "\nfresnel.return %0 {names = [\"saved0\"]} : " + d + "\n}\n" + "fresnel.program @p_backward(%q: " + t +
          ", %l: " + l + ", %saved0: " + d + ") {\n%0 = fresnel.launch @grad(%q, %l, %saved0) : (" + t + ", " + l +
          ", " + d + ") -> " + t + "\nfresnel.return %0 {names = [\"dq\"]} : " + t + "\n}\n",
      &context);
  ASSERT_TRUE(bool(module));
  EXPECT_EQ(countVisiblePairs(find<AttendGradQOp>()), 2 * (32 * 33 / 2));
  EXPECT_TRUE(getCost(find<AttendGradQOp>()).exact);
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
