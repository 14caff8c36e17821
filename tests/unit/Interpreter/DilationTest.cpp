//===- DilationTest.cpp - Folding and unfolding ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "InterpreterSupport.h"

using namespace fresnel;

TEST(Dilation, FoldPutsResiduesSideBySide) {
  // Head h of row n holds 100 h + n.
  ref::Tensor x({1, 2, 7});
  for (int64_t h = 0; h < 2; ++h)
    for (int64_t n = 0; n < 7; ++n)
      x.plane(0, h)[n] = float(100 * h + n);
  auto results = runText(R"(
fresnel.program @p(%x: tensor<1x2x7xf32>) {
  %y = fresnel.fold %x {factor = 3} : tensor<1x2x7xf32>
  %z = fresnel.unfold %y {factor = 3, seq_len = 7} : tensor<1x6x3xf32>
  fresnel.return %y, %z {names = ["y", "z"]} : tensor<1x6x3xf32>, tensor<1x2x7xf32>
})",
                         {{"x", x}});
  std::vector<float> want = {0, 3, 6, 100, 103, 106, 1, 4, 0, 101, 104, 0, 2, 5, 0, 102, 105, 0};
  EXPECT_EQ(tensor(results, "y").data, want);
  EXPECT_EQ(tensor(results, "z").data, x.data);
}

TEST(Dilation, UnfoldIsTheInverseOfFold) {
  for (auto [length, factor] : {std::pair(64, 4), {61, 4}, {3, 8}, {1, 2}, {257, 64}}) {
    ref::Tensor x = randomTensor({2, 3, length, 8}, 1);
    std::string n = std::to_string(length), d = std::to_string(factor),
                rows = std::to_string((length - 1) / factor + 1);
    std::string plain = "tensor<2x3x" + n + "x8xf32>",
                folded = "tensor<2x" + std::to_string(3 * factor) + "x" + rows + "x8xf32>";
    auto results = runText("fresnel.program @p(%x: " + plain + ") {\n  %y = fresnel.fold %x {factor = " + d +
                               "} : " + plain + "\n  %z = fresnel.unfold %y {factor = " + d + ", seq_len = " + n +
                               "} : " + folded + "\n  fresnel.return %z {names = [\"z\"]} : " + plain + "\n}\n",
                           {{"x", x}});
    EXPECT_EQ(tensor(results, "z").data, x.data) << "length " << length << ", factor " << factor;
  }
}
