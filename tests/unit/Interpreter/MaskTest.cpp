//===- MaskTest.cpp - Masks of blocks against dense attention -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "InterpreterSupport.h"

using namespace fresnel;

namespace {

constexpr int64_t kLength = 37, kKeys = 45, kDim = 16, kBlock = 8, kKeyBlock = 10;
constexpr int64_t kRows = (kLength + kBlock - 1) / kBlock, kBlocks = (kKeys + kKeyBlock - 1) / kKeyBlock;

std::vector<NamedValue> makeInputs(const ref::IndexTensor &mask) {
  return {{"q", randomTensor({1, 2, kLength, kDim}, 1)},
          {"k", randomTensor({1, 1, kKeys, kDim}, 2)},
          {"v", randomTensor({1, 1, kKeys, kDim}, 3)},
          {"mask", mask},
          {"dout", randomTensor({1, 2, kLength, kDim}, 4)}};
}

std::map<std::string, std::string> getParams() {
  return {{"heads", "2"},   {"kv_heads", "1"},  {"mask_heads", "1"},  {"seq_len", std::to_string(kLength)},
          {"kv_len", "45"}, {"head_dim", "16"}, {"query_block", "8"}, {"key_block", "10"},
          {"dtype", "f32"}};
}

/// Weights of one row from the definition, over the keys that the mask opens.
std::vector<double> weigh(const ref::Tensor &q, const ref::Tensor &k, const ref::IndexTensor &mask, int64_t head,
                          int64_t row) {
  std::vector<double> weights(kKeys);
  double sum = 0;
  for (int64_t j = 0; j < kKeys; ++j) {
    double score = 0;
    for (int64_t d = 0; d < kDim; ++d)
      score += double(q.plane(0, head)[row * kDim + d]) * k.plane(0, 0)[j * kDim + d];
    bool open = mask.data[size_t(row / kBlock * kBlocks + j / kKeyBlock)] != 0;
    weights[size_t(j)] = open ? std::exp(score / 4) : 0;
    sum += weights[size_t(j)];
  }
  for (double &weight : weights)
    weight = sum > 0 ? weight / sum : 0;
  return weights;
}

} // namespace

TEST(Mask, ListsAscendAndEndWithNothing) {
  ref::IndexTensor mask({1, 1, 3, 4}, {0, 1, 0, 7, 0, 0, 0, 0, 1, 1, -1, 1});
  ref::IndexTensor lists = ref::blocksFromMask(mask);
  EXPECT_EQ(lists.shape, mask.shape);
  EXPECT_EQ(lists.data, (std::vector<int32_t>{1, 3, -1, -1, -1, -1, -1, -1, 0, 1, 2, 3}));
}

// Rows 1 and 3 of the mask are empty and full, the others are mixed.
TEST(Mask, AttentionSeesTheAllowedBlocks) {
  ref::IndexTensor mask({1, 1, kRows, kBlocks});
  for (size_t i = 0; i < mask.data.size(); ++i)
    mask.data[i] = i * 7 % 3 == 0;
  std::fill_n(mask.data.begin() + kBlocks, kBlocks, 0);
  std::fill_n(mask.data.begin() + 3 * kBlocks, kBlocks, 1);
  std::vector<NamedValue> inputs = makeInputs(mask);
  auto results = run("block_mask", getParams(), inputs, /*grad=*/true);
  const ref::Tensor &q = std::get<ref::Tensor>(inputs[0].value), &k = std::get<ref::Tensor>(inputs[1].value),
                    &v = std::get<ref::Tensor>(inputs[2].value), &dout = std::get<ref::Tensor>(inputs[4].value);
  ref::Tensor out({1, 2, kLength, kDim}), dv({1, 1, kKeys, kDim});
  for (int64_t head = 0; head < 2; ++head)
    for (int64_t row = 0; row < kLength; ++row) {
      std::vector<double> weights = weigh(q, k, mask, head, row);
      for (int64_t j = 0; j < kKeys; ++j)
        for (int64_t d = 0; d < kDim; ++d) {
          out.plane(0, head)[row * kDim + d] += float(weights[size_t(j)] * v.plane(0, 0)[j * kDim + d]);
          dv.plane(0, 0)[j * kDim + d] += float(weights[size_t(j)] * dout.plane(0, head)[row * kDim + d]);
        }
    }
  EXPECT_LT(getDistance(tensor(results, "out"), out), 1e-5);
  EXPECT_LT(getDistance(tensor(results, "dv"), dv), 1e-5);
  // A row that sees nothing gives 0.
  EXPECT_EQ(tensor(results, "out").plane(0, 1)[kBlock * kDim], 0);
  EXPECT_EQ(tensor(results, "lse").plane(0, 1)[kBlock], -INFINITY);
  for (const NamedValue &result : results)
    EXPECT_NE(result.name, "dmask");
}

// All blocks allowed: dense attention and its gradients.
TEST(Mask, FullMaskIsDense) {
  std::vector<NamedValue> inputs = makeInputs(ref::IndexTensor({1, 1, kRows, kBlocks}, 1));
  for (const char *causal : {"true", "false"}) {
    auto params = getParams();
    params["causal"] = causal;
    auto masked = run("block_mask", params, inputs, /*grad=*/true);
    for (const char *name : {"mask_heads", "query_block", "key_block"})
      params.erase(name);
    std::vector<NamedValue> plain = inputs;
    plain.erase(plain.begin() + 3);
    auto dense = run("dense", params, plain, /*grad=*/true);
    for (const char *name : {"out", "dq", "dk", "dv"})
      EXPECT_LT(getDistance(tensor(masked, name), tensor(dense, name)), 1e-6) << name;
  }
}
