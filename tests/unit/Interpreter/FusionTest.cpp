//===- FusionTest.cpp - Fused programs compute what plain ones do ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "InterpreterSupport.h"

using namespace fresnel;

namespace {

/// Runs a program as written and as fused: the same indices, and values that
/// differ by the rounding of sums only.
void compare(const std::string &text, const std::vector<NamedValue> &inputs, bool grad) {
  std::vector<NamedValue> plain = runText(text, inputs, grad), fused = runText(text, inputs, grad, /*fuse=*/true);
  ASSERT_EQ(plain.size(), fused.size());
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(plain[i].name, fused[i].name);
    if (auto *indices = std::get_if<ref::IndexTensor>(&plain[i].value))
      EXPECT_EQ(indices->data, std::get<ref::IndexTensor>(fused[i].value).data) << plain[i].name;
    else
      EXPECT_LT(getDistance(tensor(fused, plain[i].name), tensor(plain, plain[i].name)), 1e-6) << plain[i].name;
  }
}

void compareLighthouse(int64_t heads, int64_t kvHeads, int64_t length, std::map<std::string, std::string> params,
                       bool grad) {
  for (auto [name, value] :
       {std::pair("heads", heads), {"kv_heads", kvHeads}, {"seq_len", length}, {"head_dim", int64_t(16)}})
    params[name] = std::to_string(value);
  params["dtype"] = "f32";
  std::vector<NamedValue> inputs = {{"q", randomTensor({1, heads, length, 16}, 1)},
                                    {"k", randomTensor({1, kvHeads, length, 16}, 2)},
                                    {"v", randomTensor({1, kvHeads, length, 16}, 3)}};
  if (grad)
    inputs.push_back({"dout", randomTensor({1, heads, length, 16}, 4)});
  llvm::Expected<std::string> text = instantiate(*findPreset("lighthouse"), params);
  ASSERT_TRUE(bool(text));
  compare(*text, inputs, grad);
}

} // namespace

TEST(Fusion, LighthouseForward) {
  compareLighthouse(4, 2, 61, {{"topk", "4"}, {"levels", "3"}, {"factor", "2"}}, false);
  compareLighthouse(1, 1, 300, {{"topk", "130"}, {"levels", "4"}, {"factor", "3"}, {"open_first_window", "true"}}, false);
}

TEST(Fusion, LighthouseBackward) {
  compareLighthouse(4, 2, 61, {{"topk", "4"}, {"levels", "3"}, {"factor", "2"}}, true);
  compareLighthouse(4, 1, 100, {{"topk", "7"}, {"levels", "2"}, {"factor", "5"}}, true);
  compareLighthouse(2, 2, 64, {{"topk", "8"}, {"levels", "1"}, {"factor", "2"}}, true);
}

// Two gathers of one pyramid: the gradient of the pyramid sums both before it is spread.
TEST(Fusion, OnePyramidGatheredTwice) {
  std::vector<NamedValue> inputs = {{"x", randomTensor({1, 2, 24, 16}, 1)}, {"s", randomTensor({1, 2, 30}, 2)},
                                    {"t", randomTensor({1, 2, 30}, 3)}, {"dout", randomTensor({1, 2, 14, 16}, 4)}};
  compare(R"(
!x = tensor<1x2x24x16xf32>
!p = tensor<1x2x30x16xf32>
!s = tensor<1x2x30xf32>
!i = tensor<1x2x14xi32>
!y = tensor<1x2x14x16xf32>
fresnel.program @p(%x: !x, %s: !s, %t: !s) {
  %i = fresnel.select_cascade %s, %s {seq_len = 24, levels = 2, factor = 4, topk = 2} : !s, !s
  %j = fresnel.select_cascade %t, %t {seq_len = 24, levels = 2, factor = 4, topk = 2} : !s, !s
  %p = fresnel.pyramid mean %x {levels = 2, factor = 4} : !x
  %a = fresnel.gather %p, %i : !p, !i
  %b = fresnel.gather %p, %j : !p, !i
  %y, %l = fresnel.attend %a, %b, %b {causal = true} : !y, !y, !y
  fresnel.return %y, %i, %j {names = ["out", "i", "j"]} : !y, !i, !i
})",
          inputs, /*grad=*/true);
}
