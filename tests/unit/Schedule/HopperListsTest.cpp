//===- HopperListsTest.cpp - Steps of gradients over block lists
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/HopperLists.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace fresnel;

namespace {

class HopperListsTest : public testing::Test {
protected:
  HopperListsTest() { context.loadDialect<FresnelDialect>(); }

  /// Steps over lists of blocks of queries, each read by `readers` of 32 heads over one key head.
  ListSteps getSteps(int64_t queryBlock, int64_t keyBlock, int64_t readers) {
    std::string q = "tensor<1x32x1024x128xbf16>", k = "tensor<1x1x1024x128xbf16>";
    std::string list = "tensor<1x" + std::to_string(32 / readers) + "x" + std::to_string(1024 / queryBlock) + "x3xi32>";
    module = parseSourceString<ModuleOp>("fresnel.program @p(%q: " + q + ", %k: " + k + ", %b: " + list +
                                             ") {\n%o, %l = fresnel.attend %q, %k, %k blocks(%b : " + list +
                                             ") {query_block = " + std::to_string(queryBlock) +
                                             ", key_block = " + std::to_string(keyBlock) + "} : " + q + ", " + k +
                                             ", " + k + "\nfresnel.return {names = []}\n}\n",
                                         &context);
    EXPECT_TRUE(bool(module));
    return getListSteps(&(*module->getOps<ProgramOp>().begin()).getBody().front().front());
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

} // namespace

TEST_F(HopperListsTest, TokensThatHeadsShareAreGathered) {
  ListSteps steps = getSteps(/*queryBlock=*/1, /*keyBlock=*/64, /*readers=*/32);
  EXPECT_EQ(steps.group, 16);
  EXPECT_EQ(steps.tokens, 4);
  EXPECT_EQ(steps.rows, 4);
  EXPECT_TRUE(steps.gathered);
  EXPECT_TRUE(getSteps(1, 128, 16).gathered);
}

TEST_F(HopperListsTest, SmallBlocksOfQueriesAreGathered) {
  EXPECT_EQ(getSteps(16, 64, 1).rows, 4);
  EXPECT_TRUE(getSteps(16, 64, 1).gathered);
  EXPECT_EQ(getSteps(32, 192, 1).rows, 2);
  EXPECT_TRUE(getSteps(32, 192, 1).gathered);
}

TEST_F(HopperListsTest, WholeListRowsAreNot) {
  EXPECT_EQ(getSteps(64, 64, 1).rows, 1);
  EXPECT_FALSE(getSteps(64, 64, 1).gathered);
  EXPECT_FALSE(getSteps(16, 64, 4).gathered);
}

TEST_F(HopperListsTest, RowsTooSmallForACopyAreNot) {
  EXPECT_EQ(getSteps(1, 64, 8).rows, 8);
  EXPECT_FALSE(getSteps(1, 64, 8).gathered);
  EXPECT_FALSE(getSteps(1, 64, 1).gathered);
}

TEST_F(HopperListsTest, WalksOverTwoBlocksAreNot) { EXPECT_FALSE(getSteps(1, 32, 16).gathered); }
