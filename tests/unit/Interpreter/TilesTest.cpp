//===- TilesTest.cpp - Tiles of dQ, and sums of integers
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "InterpreterSupport.h"

using namespace fresnel;

TEST(Reference, TilesHoldEveryElementOnce) {
  ref::Tensor rows = randomTensor({1, 2, 150, 96}, 1), tiles = ref::toTiles(rows);
  EXPECT_EQ(tiles.shape, (std::vector<int64_t>{1, 2, 4, 64 * 96}));
  EXPECT_EQ(ref::fromTiles(tiles, 150, 96, 1.0).data, rows.data);
  // Row 17, column 70: eight columns eight times, thread 32 + 1 * 4 + 3 of the warpgroup.
  EXPECT_EQ(tiles.data[4 * (128 * 8 + 32 + 4 + 3)], rows.data[17 * 96 + 70]);
  EXPECT_EQ(std::count_if(tiles.data.begin(), tiles.data.end(), [](float x) { return x != 0; }), 2 * 150 * 96);
}

// Integers hold dQ to 2^-31 of its bound; NaN in a key makes the sums of its head NaN.
TEST(Reference, IntegersHoldSums) {
  ref::Tensor dout = randomTensor({1, 2, 150, 32}, 1), rows = randomTensor({1, 2, 150, 64}, 2);
  ref::Tensor k = randomTensor({1, 1, 200, 64}, 3), v = randomTensor({1, 1, 200, 32}, 4);
  ref::Tensor stats = ref::attendStats(dout, dout, ref::Tensor({1, 2, 150}), nullptr);
  ref::Tensor three = ref::addFactors(stats, dout, ref::boundKeys(k, v));
  EXPECT_EQ(three.shape, (std::vector<int64_t>{1, 2, 3, 256}));
  EXPECT_LT(getDistance(ref::fromIntegers(ref::toIntegers(rows, three), three, 150, 64, 1.0), rows), 1e-6);
  k.data[130 * 64 + 5] = std::nanf("");
  ref::Tensor broken = ref::addFactors(stats, dout, ref::boundKeys(k, v));
  EXPECT_TRUE(std::isnan(ref::fromIntegers(ref::toIntegers(rows, broken), broken, 150, 64, 1.0).data[0]));
}

// The last key and value are so large that integers are too coarse for rows in front of them, which are computed again.
TEST(Reference, CoarseIntegersAreSettled) {
  ref::Tensor q = randomTensor({1, 2, 130, 64}, 1), k = randomTensor({1, 1, 130, 64}, 2);
  ref::Tensor v = randomTensor({1, 1, 130, 32}, 3), dout = randomTensor({1, 2, 130, 32}, 4);
  ref::AttendOptions options;
  options.causal = true;
  auto settle = [&](bool coarse) {
    ref::AttendResult attended = ref::attend(q, k, v, options);
    ref::Tensor two = ref::attendStats(attended.out, dout, attended.lse, nullptr);
    ref::Tensor stats = ref::addFactors(two, dout, ref::boundKeys(k, v));
    ref::AttendResult read = ref::splitStats(stats, 130);
    ref::AttendGradInputs inputs{q, k, v, read.lse, read.out, dout};
    ref::Tensor want = ref::attendGradQ(inputs, options), unscaled = want;
    for (float &value : unscaled.data)
      value *= 8;
    ref::IndexTensor tiles = ref::toIntegers(unscaled, stats);
    EXPECT_EQ(ref::areTooCoarse(tiles, stats, /*plane=*/1, /*tile=*/0, 130, 130), coarse);
    ref::Tensor integers = ref::fromIntegers(tiles, stats, 130, 64, 0.125);
    EXPECT_EQ(getDistance(integers, want) > 1e-6, coarse);
    EXPECT_LT(getDistance(ref::settleTiles(tiles, stats, inputs, options), want), 1e-6);
  };
  settle(false);
  for (int64_t column = 0; column < 64; ++column)
    k.data[129 * 64 + column] *= 1e5f;
  for (int64_t column = 0; column < 32; ++column)
    v.data[129 * 32 + column] *= 1e5f;
  settle(true);
  // Rows of zeros are zero however coarse they are.
  std::fill(dout.data.begin(), dout.data.end(), 0.0f);
  ref::Tensor stats = ref::addFactors(ref::Tensor({1, 2, 2, 256}), dout, ref::boundKeys(k, v));
  EXPECT_FALSE(ref::areTooCoarse(ref::IndexTensor({1, 2, 4, 64 * 64}), stats, 0, 1, 130, 130));
}
