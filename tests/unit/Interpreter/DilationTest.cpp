//===- DilationTest.cpp - Folding, and Lighthouse's dilated scores --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The scores are computed here once more, by loops over tokens that know nothing of
// folding: a token attends to those at distances that are multiples of the dilation.
//
//===----------------------------------------------------------------------===//

#include "InterpreterSupport.h"
#include <numeric>

using namespace fresnel;

namespace {

struct Sizes {
  int64_t batch, heads, kvHeads, length, dim;
};

double dot(const float *a, const float *b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += double(a[i]) * b[i];
  return sum;
}

/// The norm of what token i of one head gets from the tokens i, i - dilation, ...
double scoreToken(const float *q, const float *k, const float *v, int64_t i, int64_t dim, int64_t dilation) {
  std::vector<double> out(size_t(dim), 0.0);
  double total = 0;
  for (int64_t j = i; j >= 0; j -= dilation) {
    double weight = std::exp(dot(q + i * dim, k + j * dim, dim) / std::sqrt(double(dim)));
    total += weight;
    for (int64_t d = 0; d < dim; ++d)
      out[size_t(d)] += weight * v[j * dim + d];
  }
  double squares = 0;
  for (double value : out)
    squares += value * value;
  return std::sqrt(squares) / total;
}

/// Each key head once for each of its query heads.
ref::Tensor repeatHeads(const ref::Tensor &x, int64_t heads) {
  ref::Tensor out({x.dim(0), heads, x.dim(2), x.dim(3)});
  for (int64_t b = 0; b < x.dim(0); ++b)
    for (int64_t h = 0; h < heads; ++h)
      std::copy_n(x.plane(b, h / (heads / x.dim(1))), x.planeSize(), out.plane(b, h));
  return out;
}

ref::Tensor scoreTokens(const ref::Tensor &q, const ref::Tensor &k, const ref::Tensor &v, Sizes sizes,
                        int64_t dilation) {
  ref::Tensor scores({sizes.batch, sizes.heads, sizes.length});
  for (int64_t plane = 0; plane < sizes.batch * sizes.heads; ++plane)
    for (int64_t i = 0; i < sizes.length; ++i)
      scores.plane(0, plane)[i] =
          float(scoreToken(q.plane(0, plane), k.plane(0, plane), v.plane(0, plane), i, sizes.dim, dilation));
  return scores;
}

std::map<std::string, std::string> getParams(Sizes sizes, std::map<std::string, std::string> params) {
  for (auto [name, value] : {std::pair("batch", sizes.batch),
                             {"heads", sizes.heads},
                             {"kv_heads", sizes.kvHeads},
                             {"seq_len", sizes.length},
                             {"head_dim", sizes.dim}})
    params[name] = std::to_string(value);
  params["dtype"] = "f32";
  return params;
}

std::vector<NamedValue> makeInputs(Sizes sizes) {
  std::vector<NamedValue> inputs;
  for (auto [name, seed, heads] :
       {std::tuple("q", 1u, sizes.heads), {"k", 2u, sizes.kvHeads}, {"v", 3u, sizes.kvHeads}})
    inputs.push_back({name, randomTensor({sizes.batch, heads, sizes.length, sizes.dim}, seed)});
  return inputs;
}

/// The preset's text with scores of tokens as inputs `qn` and `kn` in place of its scorer.
std::string replaceScorer(const std::string &preset) {
  size_t body = preset.find("(%q: !q, %k: !kv, %v: !kv) {"), first = preset.find("  %qf ="),
         last = preset.find("  %qs =");
  EXPECT_NE(std::max({body, first, last}), std::string::npos);
  return preset.substr(0, body) + "(%q: !q, %k: !kv, %v: !kv, %qn: !n, %kn: !n) {\n" + preset.substr(last);
}

void expectScores(Sizes sizes, const std::string &dilation, std::map<std::string, std::string> params) {
  params = getParams(sizes, params);
  params["dilation"] = dilation;
  std::vector<NamedValue> inputs = makeInputs(sizes);
  llvm::Expected<std::string> text = instantiate(*findPreset("lighthouse_dilated"), params);
  ASSERT_TRUE(bool(text)) << llvm::toString(text.takeError());
  std::vector<NamedValue> results = runText(*text, inputs);
  ref::Tensor q = tensor(inputs, "q"), k = repeatHeads(tensor(inputs, "k"), sizes.heads),
              v = repeatHeads(tensor(inputs, "v"), sizes.heads);
  int64_t distance = std::stoll(dilation);
  std::vector<NamedValue> scored = inputs;
  scored.push_back({"qn", scoreTokens(q, k, v, sizes, distance)});
  scored.push_back({"kn", scoreTokens(k, q, v, sizes, distance)});
  std::vector<NamedValue> want = runText(replaceScorer(*text), scored);
  const auto &selected = std::get<ref::IndexTensor>(results[2].value);
  EXPECT_EQ(selected.data, std::get<ref::IndexTensor>(want[2].value).data);
  EXPECT_LT(getDistance(tensor(results, "out"), tensor(want, "out")), 1e-6);
  // The norms of queries and keys would choose otherwise.
  params.erase("dilation");
  std::vector<NamedValue> norms = run("lighthouse", params, inputs);
  EXPECT_NE(selected.data, std::get<ref::IndexTensor>(norms[2].value).data);
}

/// The message with which the preset refuses the parameters.
std::string getRefusal(const std::string &preset, const std::map<std::string, std::string> &params) {
  llvm::Expected<std::string> text = instantiate(*findPreset(preset), params);
  return text ? "" : llvm::toString(text.takeError());
}

} // namespace

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

TEST(Dilation, LighthouseSelectsByDilatedAttention) {
  expectScores({1, 2, 2, 256, 16}, "4", {{"topk", "8"}, {"levels", "3"}, {"factor", "4"}});
  expectScores({2, 2, 2, 257, 16}, "4", {{"topk", "9"}, {"levels", "3"}, {"factor", "2"}});
  expectScores({1, 1, 1, 101, 16}, "1", {{"topk", "5"}, {"levels", "2"}, {"factor", "4"}});
  expectScores({1, 3, 3, 130, 8}, "64", {{"topk", "7"}, {"levels", "2"}, {"factor", "2"}});
  // A query head scores the keys of its own key head, as if each had one to itself.
  expectScores({2, 4, 2, 129, 16}, "4", {{"topk", "9"}, {"levels", "3"}, {"factor", "2"}});
  expectScores({1, 3, 1, 101, 16}, "1", {{"topk", "5"}, {"levels", "2"}, {"factor", "4"}});
}

TEST(Dilation, FoldRepeatsHeadsAndUnfoldSumsThem) {
  ref::Tensor x({1, 2, 3});
  std::iota(x.data.begin(), x.data.end(), 1.0f);
  auto results = runText(R"(
fresnel.program @p(%x: tensor<1x2x3xf32>) {
  %y = fresnel.fold %x {factor = 2, repeat = 3} : tensor<1x2x3xf32>
  %z = fresnel.unfold %y {factor = 2, seq_len = 3, repeat = 3} : tensor<1x12x2xf32>
  fresnel.return %y, %z {names = ["y", "z"]} : tensor<1x12x2xf32>, tensor<1x2x3xf32>
})",
                         {{"x", x}});
  std::vector<float> want = {1, 3, 1, 3, 1, 3, 4, 6, 4, 6, 4, 6, 2, 0, 2, 0, 2, 0, 5, 0, 5, 0, 5, 0};
  EXPECT_EQ(tensor(results, "y").data, want);
  EXPECT_EQ(tensor(results, "z").data, (std::vector<float>{3, 6, 9, 12, 15, 18}));
}

TEST(Dilation, ScorersAreNamedWhereTheyAre) {
  EXPECT_NE(getRefusal("lighthouse", {{"scorer", "gla"}}).find("lighthouse_dilated has the scorer dilated; gla adds"),
            std::string::npos);
  EXPECT_NE(getRefusal("lighthouse_dilated", {{"scorer", "norm"}}).find("the preset lighthouse has the scorer norm"),
            std::string::npos);
}
