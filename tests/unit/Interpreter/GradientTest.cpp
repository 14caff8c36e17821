//===- GradientTest.cpp - Gradients against finite differences and golden data
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "InterpreterSupport.h"

using namespace fresnel;

namespace {

double inner(const ref::Tensor &a, const ref::Tensor &b) {
  double sum = 0;
  for (size_t i = 0; i < a.data.size(); ++i)
    sum += double(a.data[i]) * b.data[i];
  return sum;
}

/// inputs[index] + step * direction
std::vector<NamedValue> moved(std::vector<NamedValue> inputs, size_t index, const ref::Tensor &direction, double step) {
  ref::Tensor &tensor = std::get<ref::Tensor>(inputs[index].value);
  for (size_t i = 0; i < tensor.data.size(); ++i)
    tensor.data[i] += float(step * direction.data[i]);
  return inputs;
}

/// Compares, for every input, the derivative of <dout, out> along a random
/// direction with its central difference. What is selected must not change.
void checkGradients(const std::string &text, const std::vector<NamedValue> &inputs) {
  constexpr double kStep = 1e-3;
  std::vector<NamedValue> plain = runText(text, inputs);
  ref::Tensor dout = randomTensor(tensor(plain, "out").shape, 99);
  std::vector<NamedValue> withGradient = inputs;
  withGradient.push_back({"dout", dout});
  std::vector<NamedValue> results = runText(text, withGradient, /*grad=*/true);
  EXPECT_EQ(getDistance(tensor(results, "out"), tensor(plain, "out")), 0);
  for (size_t index = 0; index < inputs.size(); ++index) {
    if (std::holds_alternative<ref::IndexTensor>(inputs[index].value))
      continue;
    const ref::Tensor &gradient = tensor(results, "d" + inputs[index].name);
    ref::Tensor direction = randomTensor(std::get<ref::Tensor>(inputs[index].value).shape, unsigned(50 + index));
    auto up = runText(text, moved(inputs, index, direction, kStep));
    auto down = runText(text, moved(inputs, index, direction, -kStep));
    for (size_t i = 0; i < up.size(); ++i) {
      if (auto *selected = std::get_if<ref::IndexTensor>(&up[i].value)) {
        ASSERT_EQ(selected->data, std::get<ref::IndexTensor>(down[i].value).data) << "choose another seed";
      }
    }
    double want = (inner(dout, tensor(up, "out")) - inner(dout, tensor(down, "out"))) / (2 * kStep);
    double size = std::sqrt(inner(gradient, gradient));
    EXPECT_GT(size, 0) << inputs[index].name;
    EXPECT_NEAR(inner(gradient, direction), want, 2e-3 * size) << inputs[index].name;
  }
}

void checkPreset(const std::string &preset, std::map<std::string, std::string> params, int64_t heads, int64_t kvHeads,
                 int64_t queries, int64_t keys, int64_t gates = 0) {
  for (auto [name, value] :
       {std::pair("heads", heads), {"kv_heads", kvHeads}, {"seq_len", queries}, {"head_dim", int64_t(16)}})
    params[name] = std::to_string(value);
  params["dtype"] = "f32";
  std::vector<NamedValue> inputs = {{"q", randomTensor({1, heads, queries, 16}, 1)},
                                    {"k", randomTensor({1, kvHeads, keys, 16}, 2)},
                                    {"v", randomTensor({1, kvHeads, keys, 16}, 3)}};
  if (gates)
    inputs.push_back({"gates", randomTensor({1, heads, queries, gates}, 4)});
  llvm::Expected<std::string> text = instantiate(*findPreset(preset), params);
  ASSERT_TRUE(bool(text));
  checkGradients(*text, inputs);
}

} // namespace

TEST(Gradients, DenseIsRightForEveryMask) {
  checkPreset("dense", {}, 4, 2, 37, 37);
  checkPreset("dense", {{"causal", "false"}, {"softcap", "1.5"}}, 2, 1, 19, 19);
  checkPreset("dense", {{"kv_len", "53"}, {"softcap", "2.0"}}, 3, 1, 21, 53);
  checkPreset("dense", {{"kv_len", "17"}}, 2, 2, 29, 17);
  checkPreset("window", {{"window", "7"}, {"sinks", "3"}}, 4, 2, 41, 41);
}

TEST(Gradients, PresetsAreRight) {
  checkPreset("lighthouse", {{"topk", "4"}, {"levels", "3"}, {"factor", "2"}}, 4, 2, 61, 61);
  checkPreset("lighthouse_dilated", {{"topk", "4"}, {"levels", "3"}, {"factor", "2"}, {"dilation", "3"}}, 2, 2, 61, 61);
  checkPreset("moba", {{"block", "8"}, {"topk", "2"}}, 2, 1, 29, 29);
  checkPreset("vsa", {{"block", "8"}, {"topk", "2"}}, 2, 2, 43, 43, 2);
  checkPreset("nsa", {{"window", "8"}, {"stride", "4"}, {"block", "8"}, {"topk", "4"}, {"sliding", "9"}}, 4, 2, 61, 61,
              3);
}

TEST(Gradients, DocumentsAreRight) {
  for (const char *causal : {"true", "false"}) {
    llvm::Expected<std::string> text = instantiate(*findPreset("documents"), {{"heads", "4"},
                                                                              {"kv_heads", "2"},
                                                                              {"seq_len", "29"},
                                                                              {"head_dim", "16"},
                                                                              {"dtype", "f32"},
                                                                              {"documents", "4"},
                                                                              {"causal", causal}});
    ASSERT_TRUE(bool(text));
    checkGradients(*text, {{"q", randomTensor({1, 4, 29, 16}, 1)},
                           {"k", randomTensor({1, 2, 29, 16}, 2)},
                           {"v", randomTensor({1, 2, 29, 16}, 3)},
                           {"cu_seqlens", ref::IndexTensor({1, 1, 5}, {0, 11, 11, 12, 29})}});
  }
}

// What no preset differentiates: merge, maximum pooling, one value used twice.
TEST(Gradients, OtherOperationsAreRight) {
  checkGradients(R"(
!x = tensor<1x2x24x16xf32>
!p = tensor<1x2x6x16xf32>
!l = tensor<1x2x24xf32>
fresnel.program @p(%q: !x, %k: !x, %v: !x) {
  %kp = fresnel.pool max %k {window = 4} : !x
  %vp = fresnel.pool mean %v {window = 4} : !x
  %kk = fresnel.pyramid max %k {levels = 2, factor = 4} : !x
  %vv = fresnel.pyramid mean %v {levels = 2, factor = 4} : !x
  %a, %la = fresnel.attend %q, %kp, %vp : !x, !p, !p
  %b, %lb = fresnel.attend %q, %kk, %vv : !x, tensor<1x2x30x16xf32>, tensor<1x2x30x16xf32>
  %c, %lc = fresnel.attend %q, %k, %k {causal = true} : !x, !x, !x
  %out, %lse = fresnel.merge %a, %b, %c lse %la, %lb, %lc : !x, !x, !x lse !l, !l, !l
  fresnel.return %out {names = ["out"]} : !x
})",
                 {{"q", randomTensor({1, 2, 24, 16}, 1)},
                  {"k", randomTensor({1, 2, 24, 16}, 2)},
                  {"v", randomTensor({1, 2, 24, 16}, 3)}});
}

TEST(Gradients, FoldAndUnfoldAreEachOthers) {
  checkGradients(R"(
!x = tensor<1x2x23x16xf32>
!f = tensor<1x8x6x16xf32>
fresnel.program @p(%q: !x, %k: !x, %v: !x) {
  %qf = fresnel.fold %q {factor = 4} : !x
  %kf = fresnel.fold %k {factor = 4} : !x
  %vf = fresnel.fold %v {factor = 4} : !x
  %o, %l = fresnel.attend %qf, %kf, %vf {causal = true} : !f, !f, !f
  %out = fresnel.unfold %o {factor = 4, seq_len = 23} : !f
  fresnel.return %out {names = ["out"]} : !x
})",
                 {{"q", randomTensor({1, 2, 23, 16}, 1)},
                  {"k", randomTensor({1, 2, 23, 16}, 2)},
                  {"v", randomTensor({1, 2, 23, 16}, 3)}});
}

TEST(Gradients, FoldOfRepeatedHeads) {
  checkGradients(R"(
!q = tensor<1x4x11x8xf32>
!x = tensor<1x2x11x8xf32>
!f = tensor<1x12x4x8xf32>
fresnel.program @p(%q: !q, %k: !x, %v: !x) {
  %qf = fresnel.fold %q {factor = 3} : !q
  %kf = fresnel.fold %k {factor = 3, repeat = 2} : !x
  %vf = fresnel.fold %v {factor = 3, repeat = 2} : !x
  %o, %l = fresnel.attend %qf, %kf, %vf {causal = true} : !f, !f, !f
  %out = fresnel.unfold %o {factor = 3, seq_len = 11, repeat = 2} : !f
  fresnel.return %out {names = ["out"]} : !x
})",
                 {{"q", randomTensor({1, 4, 11, 8}, 1)},
                  {"k", randomTensor({1, 2, 11, 8}, 2)},
                  {"v", randomTensor({1, 2, 11, 8}, 3)}});
}

namespace {
class GoldenGradient : public testing::TestWithParam<const char *> {};
} // namespace

TEST_P(GoldenGradient, Lighthouse) {
  std::string path = getGoldenPath(GetParam());
  rt::Expected<rt::Safetensors> file = rt::readSafetensors(path);
  if (!file)
    GTEST_SKIP() << "golden data is not there: " << path << " (set FRESNEL_GOLDEN_DIR)";
  std::vector<NamedValue> inputs;
  for (const char *name : {"q", "k", "v", "dout"})
    inputs.push_back({name, toTensor(file->tensors.at(name))});
  const std::vector<int64_t> &shape = inputs[0].getShape();
  std::map<std::string, std::string> params = {{"dtype", "f32"},
                                               {"levels", file->metadata.at("levels")},
                                               {"factor", file->metadata.at("pool")},
                                               {"topk", file->metadata.at("topk")}};
  for (auto [name, dim] : {std::pair("batch", 0), {"heads", 1}, {"kv_heads", 1}, {"seq_len", 2}, {"head_dim", 3}})
    params[name] = std::to_string(shape[size_t(dim)]);
  std::vector<NamedValue> results = run("lighthouse", params, inputs, /*grad=*/true);
  for (const char *name : {"dq", "dk", "dv"})
    EXPECT_LT(getDistance(tensor(results, name), toTensor(file->tensors.at(name))), 1e-5) << name;
}
INSTANTIATE_TEST_SUITE_P(Files, GoldenGradient, testing::Values("a", "b", "c", "d"));
