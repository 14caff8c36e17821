//===- FusionTest.cpp - Fused programs compute what plain ones do ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "InterpreterSupport.h"
#include <array>
#include <limits>
#include <set>

using namespace fresnel;

namespace {

/// Runs a program as written and as fused: the same indices, and values that
/// differ by the rounding of sums only.
void compare(const std::string &text, const std::vector<NamedValue> &inputs, bool grad, double tolerance = 1e-6) {
  std::vector<NamedValue> plain = runText(text, inputs, grad), fused = runText(text, inputs, grad, /*fuse=*/true);
  ASSERT_EQ(plain.size(), fused.size());
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(plain[i].name, fused[i].name);
    if (auto *indices = std::get_if<ref::IndexTensor>(&plain[i].value))
      EXPECT_EQ(indices->data, std::get<ref::IndexTensor>(fused[i].value).data) << plain[i].name;
    else
      EXPECT_LT(getDistance(tensor(fused, plain[i].name), tensor(plain, plain[i].name)), tolerance) << plain[i].name;
  }
}

void compareLighthouse(int64_t heads, int64_t kvHeads, int64_t length, std::map<std::string, std::string> params,
                       bool grad, const std::string &preset = "lighthouse") {
  for (auto [name, value] :
       {std::pair("heads", heads), {"kv_heads", kvHeads}, {"seq_len", length}, {"head_dim", int64_t(16)}})
    params[name] = std::to_string(value);
  params["dtype"] = "f32";
  std::vector<NamedValue> inputs = {{"q", randomTensor({1, heads, length, 16}, 1)},
                                    {"k", randomTensor({1, kvHeads, length, 16}, 2)},
                                    {"v", randomTensor({1, kvHeads, length, 16}, 3)}};
  if (grad)
    inputs.push_back({"dout", randomTensor({1, heads, length, 16}, 4)});
  llvm::Expected<std::string> text = instantiate(*findPreset(preset), params);
  ASSERT_TRUE(bool(text));
  compare(*text, inputs, grad);
}

} // namespace

TEST(Fusion, LighthouseForward) {
  compareLighthouse(4, 2, 61, {{"topk", "4"}, {"levels", "3"}, {"factor", "2"}}, false);
  compareLighthouse(1, 1, 300, {{"topk", "130"}, {"levels", "4"}, {"factor", "3"}, {"open_first_window", "true"}},
                    false);
}

TEST(Fusion, LighthousePerKvHead) {
  for (bool grad : {false, true}) {
    compareLighthouse(4, 2, 61, {{"topk", "4"}, {"levels", "3"}, {"factor", "2"}, {"per_kv_head", "true"}}, grad);
    compareLighthouse(3, 1, 100, {{"topk", "7"}, {"levels", "2"}, {"factor", "5"}, {"per_kv_head", "true"}}, grad);
  }
}

TEST(Fusion, LighthouseDilated) {
  for (bool grad : {false, true})
    compareLighthouse(2, 2, 101, {{"topk", "5"}, {"levels", "3"}, {"factor", "2"}, {"dilation", "4"}}, grad,
                      "lighthouse_dilated");
  compareLighthouse(4, 2, 61, {{"topk", "5"}, {"levels", "2"}, {"factor", "4"}, {"dilation", "4"}}, true,
                    "lighthouse_dilated");
}

TEST(Fusion, LighthouseBackward) {
  compareLighthouse(4, 2, 61, {{"topk", "4"}, {"levels", "3"}, {"factor", "2"}}, true);
  compareLighthouse(4, 1, 100, {{"topk", "7"}, {"levels", "2"}, {"factor", "5"}}, true);
  compareLighthouse(2, 2, 64, {{"topk", "8"}, {"levels", "1"}, {"factor", "2"}}, true);
}

// With a kernel for all gradients of attention, out of whose tiles the gradient of the queries comes: sums of 16-bit
// rows are rounded more or less often.
TEST(Fusion, LighthouseGradientsInOnePass) {
  for (const char *documents : {"", "61,0,1,100"}) {
    std::map<std::string, std::string> params{{"heads", "4"},     {"kv_heads", "2"}, {"head_dim", "64"}, {"topk", "5"},
                                              {"seq_len", "162"}, {"levels", "3"},   {"factor", "3"}};
    if (*documents)
      params["documents"] = documents;
    llvm::Expected<std::string> text =
        instantiate(*findPreset(*documents ? "lighthouse_documents" : "lighthouse"), params);
    ASSERT_TRUE(bool(text));
    std::vector<NamedValue> inputs = {{"q", randomTensor({1, 4, 162, 64}, 1)},
                                      {"k", randomTensor({1, 2, 162, 64}, 2)},
                                      {"v", randomTensor({1, 2, 162, 64}, 3)},
                                      {"dout", randomTensor({1, 4, 162, 64}, 4)}};
    compare(*text, inputs, /*grad=*/true, /*tolerance=*/5e-3);
  }
}

// What the hopper family fuses within documents: LSEs and scores of NSA's blocks, and gradients whose window is a part
// of the bounds.
TEST(Fusion, NativeSparseAttentionWithinDocuments) {
  llvm::Expected<std::string> text = instantiate(*findPreset("nsa_documents"), {{"heads", "4"},
                                                                                {"kv_heads", "2"},
                                                                                {"seq_len", "139"},
                                                                                {"head_dim", "64"},
                                                                                {"documents", "5"},
                                                                                {"sliding", "50"}});
  ASSERT_TRUE(bool(text));
  std::vector<NamedValue> inputs = {
      {"q", randomTensor({1, 4, 139, 64}, 1)},
      {"k", randomTensor({1, 2, 139, 64}, 2)},
      {"v", randomTensor({1, 2, 139, 64}, 3)},
      {"gates", randomTensor({1, 4, 139, 3}, 4)},
      {"cu_seqlens", ref::IndexTensor({1, 1, 6}, std::vector<int32_t>{0, 1, 70, 70, 75, 139})},
      {"dout", randomTensor({1, 4, 139, 64}, 5)}};
  compare(*text, inputs, /*grad=*/true, 1e-2);
}

// Lists of single queries that are attended to block by block: repetitions, blocks of the future, none at all, queries
// in front of the first key, and heads that share a list.
TEST(Fusion, QueriesGroupedByBlocks) {
  constexpr int64_t queries = 4200, keys = 4150, entries = 2;
  ref::IndexTensor list({1, 2, queries, entries});
  for (size_t i = 0; i < list.data.size(); ++i)
    list.data[i] = int32_t(i * 2654435761u >> 7) % 36 - 2;
  std::vector<NamedValue> inputs = {{"q", randomTensor({1, 4, queries, 64}, 1)},
                                    {"k", randomTensor({1, 2, keys, 64}, 2)},
                                    {"v", randomTensor({1, 2, keys, 64}, 3)},
                                    {"list", list},
                                    {"dout", randomTensor({1, 4, queries, 64}, 4)}};
  compare(R"(
!q = tensor<1x4x4200x64xbf16>
!k = tensor<1x2x4150x64xbf16>
!b = tensor<1x2x4200x2xi32>
fresnel.program @p(%q: !q, %k: !k, %v: !k, %list: !b) {
  %o, %l = fresnel.attend %q, %k, %v blocks(%list : !b) {causal = true, key_block = 128} : !q, !k, !k
  fresnel.return %o {names = ["out"]} : !q
})",
          inputs, /*grad=*/true, 1e-2);
}

// The same of a preset whose queries list their own blocks.
TEST(Fusion, MixtureOfBlockAttention) {
  llvm::Expected<std::string> text = instantiate(
      *findPreset("moba"),
      {{"heads", "2"}, {"kv_heads", "1"}, {"seq_len", "2100"}, {"head_dim", "64"}, {"block", "128"}, {"topk", "2"}});
  ASSERT_TRUE(bool(text));
  compare(*text,
          {{"q", randomTensor({1, 2, 2100, 64}, 1)},
           {"k", randomTensor({1, 1, 2100, 64}, 2)},
           {"v", randomTensor({1, 1, 2100, 64}, 3)},
           {"dout", randomTensor({1, 2, 2100, 64}, 4)}},
          /*grad=*/true, 1e-2);
}

// Within documents, most of which begin inside of a block of keys: one of a token, an empty one, one that ends with a
// block, and one of two blocks and a half.
TEST(Fusion, QueriesGroupedWithinDocuments) {
  constexpr int64_t queries = 4200, entries = 2;
  ref::IndexTensor list({1, 2, queries, entries});
  // Each query lists its own block or one of the seven in front of it, be they in its document or not.
  for (int64_t i = 0; i < 2 * queries * entries; ++i)
    list.data[size_t(i)] = int32_t(i / entries % queries / 128 - int64_t(uint32_t(i) * 2654435761u >> 7) % 8);
  std::vector<NamedValue> inputs = {
      {"q", randomTensor({1, 4, queries, 64}, 1)},
      {"k", randomTensor({1, 2, queries, 64}, 2)},
      {"v", randomTensor({1, 2, queries, 64}, 3)},
      {"list", list},
      {"cu", ref::IndexTensor({1, 1, 8}, std::vector<int32_t>{0, 900, 901, 901, 1280, 1600, 4000, 4200})},
      {"dout", randomTensor({1, 4, queries, 64}, 4)}};
  compare(R"(
!q = tensor<1x4x4200x64xbf16>
!k = tensor<1x2x4200x64xbf16>
!b = tensor<1x2x4200x2xi32>
!c = tensor<1x1x8xi32>
!d = tensor<1x2x4200xi32>
fresnel.program @p(%q: !q, %k: !k, %v: !k, %list: !b, %cu: !c) {
  %d = fresnel.document_bounds %cu {seq_len = 4200} : !c
  %o, %l = fresnel.attend %q, %k, %v blocks(%list : !b) documents(%d : !d) {causal = true, key_block = 128} : !q, !k, !k
  fresnel.return %o {names = ["out"]} : !q
})",
          inputs, /*grad=*/true, 1e-2);
}

TEST(Fusion, MixtureOfBlockAttentionWithinDocuments) {
  llvm::Expected<std::string> text = instantiate(*findPreset("moba_documents"), {{"heads", "2"},
                                                                                 {"kv_heads", "1"},
                                                                                 {"seq_len", "2100"},
                                                                                 {"head_dim", "64"},
                                                                                 {"documents", "4"},
                                                                                 {"block", "128"},
                                                                                 {"topk", "2"}});
  ASSERT_TRUE(bool(text));
  compare(*text,
          {{"q", randomTensor({1, 2, 2100, 64}, 1)},
           {"k", randomTensor({1, 1, 2100, 64}, 2)},
           {"v", randomTensor({1, 1, 2100, 64}, 3)},
           {"cu_seqlens", ref::IndexTensor({1, 1, 5}, std::vector<int32_t>{0, 200, 201, 1700, 2100})},
           {"dout", randomTensor({1, 2, 2100, 64}, 4)}},
          /*grad=*/true, 1e-2);
}

/// Gates of three branches, some of them so far from 0 that their weight is 0 or 1, or infinite.
static ref::Tensor extremeGates(int64_t heads, int64_t rows) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  ref::Tensor gates = randomTensor({1, heads, rows, 3}, 4);
  for (size_t i = 0; i < gates.data.size(); i += 5)
    gates.data[i] = std::array{-200.0f, 200.0f, -30.0f, -infinity, infinity}[i / 5 % 5];
  return gates;
}

// The gradients of NSA's branches, with lists and without, read the gradient of the gated sum.
TEST(Fusion, NativeSparseAttention) {
  auto check = [](const std::string &type, const std::string &depth, const ref::Tensor &gates, double tolerance) {
    llvm::Expected<std::string> text = instantiate(*findPreset("nsa"), {{"heads", "4"},
                                                                        {"kv_heads", "2"},
                                                                        {"seq_len", "139"},
                                                                        {"head_dim", depth},
                                                                        {"topk", "3"},
                                                                        {"dtype", type},
                                                                        {"sliding", "50"}});
    ASSERT_TRUE(bool(text));
    int64_t columns = std::stoll(depth);
    compare(*text,
            {{"q", randomTensor({1, 4, 139, columns}, 1)},
             {"k", randomTensor({1, 2, 139, columns}, 2)},
             {"v", randomTensor({1, 2, 139, columns}, 3)},
             {"gates", gates},
             {"dout", randomTensor({1, 4, 139, columns}, 5)}},
            /*grad=*/true, tolerance);
  };
  check("f32", "16", randomTensor({1, 4, 139, 3}, 4), 1e-5);
  check("f32", "16", extremeGates(4, 139), 1e-5);
  check("bf16", "64", extremeGates(4, 139), 1e-2);
  // Sums of the sliding branch in integers.
  check("bf16", "192", extremeGates(4, 139), 1e-2);
}

// Rows without keys, a soft cap, values narrower than keys, and a branch that no attention made.
TEST(Fusion, GatedAttention) {
  for (const ref::Tensor &gates : {randomTensor({1, 4, 40, 3}, 6), extremeGates(4, 40)})
    compare(R"(
!q = tensor<1x4x40x16xf32>
!k = tensor<1x2x33x16xf32>
!v = tensor<1x2x33x8xf32>
!o = tensor<1x4x40x8xf32>
!g = tensor<1x4x40x3xf32>
fresnel.program @p(%q: !q, %k: !k, %v: !v, %x: !o, %gates: !g) {
  %a, %la = fresnel.attend %q, %k, %v {causal = true, softcap = 2.0} : !q, !k, !v
  %b, %lb = fresnel.attend %q, %k, %v {causal = true, window = 7} : !q, !k, !v
  %out = fresnel.gate %a, %x, %b by %gates {activation = #fresnel<activation sigmoid>} : !o, !o, !o by !g
  fresnel.return %out {names = ["out"]} : !o
})",
            {{"q", randomTensor({1, 4, 40, 16}, 1)},
             {"k", randomTensor({1, 2, 33, 16}, 2)},
             {"v", randomTensor({1, 2, 33, 8}, 3)},
             {"x", randomTensor({1, 4, 40, 8}, 4)},
             {"gates", gates},
             {"dout", randomTensor({1, 4, 40, 8}, 5)}},
            /*grad=*/true, 1e-5);
}

// Two gathers of one pyramid: the gradient of the pyramid sums both before it is spread.
TEST(Fusion, OnePyramidGatheredTwice) {
  std::vector<NamedValue> inputs = {{"x", randomTensor({1, 2, 24, 16}, 1)},
                                    {"s", randomTensor({1, 2, 30}, 2)},
                                    {"t", randomTensor({1, 2, 30}, 3)},
                                    {"dout", randomTensor({1, 2, 14, 16}, 4)}};
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

// Scores of 16-bit queries that only the selection reads; equal keys, hence ties.
TEST(Fusion, SelectionByScores) {
  std::vector<NamedValue> inputs = {{"q", randomTensor({1, 2, 32768, 16}, 1)}, {"k", randomTensor({1, 1, 5, 16}, 2)}};
  compare(R"(
!q = tensor<1x2x32768x16xbf16>
!k = tensor<1x1x10x16xbf16>
fresnel.program @p(%q: !q, %k: tensor<1x1x5x16xbf16>) {
  %k2 = fresnel.unpool %k {window = 2, seq_len = 10} : tensor<1x1x5x16xbf16>
  %s = fresnel.block_score %q, %k2 {causal = true, key_window = 3300, key_stride = 3300} : !q, !k
  %i = fresnel.select_blocks %s {topk = 3, local = 1, causal = true, key_block = 3300} : tensor<1x2x32768x10xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x2x32768x3xi32>
})",
          inputs, /*grad=*/false);
}

// The same within documents.
TEST(Fusion, SelectionByScoresWithinDocuments) {
  std::vector<NamedValue> inputs = {
      {"q", randomTensor({1, 2, 32768, 16}, 1)},
      {"k", randomTensor({1, 1, 10, 16}, 2)},
      {"cu", ref::IndexTensor({1, 1, 6}, std::vector<int32_t>{0, 5000, 5001, 5001, 13200, 32768})}};
  compare(R"(
!q = tensor<1x2x32768x16xbf16>
!k = tensor<1x1x10x16xbf16>
!d = tensor<1x2x32768xi32>
fresnel.program @p(%q: !q, %k: !k, %cu: tensor<1x1x6xi32>) {
  %d = fresnel.document_bounds %cu {seq_len = 32768} : tensor<1x1x6xi32>
  %s = fresnel.block_score %q, %k {causal = true, key_window = 3300, key_stride = 3300} : !q, !k
  %i = fresnel.select_blocks %s documents(%d : !d) {topk = 3, local = 1, causal = true, key_block = 3300} : tensor<1x2x32768x10xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x2x32768x3xi32>
})",
          inputs, /*grad=*/false);
}

// Both gradients of attention in one pass: values of 16 bits differ where a sum of f32 is rounded once more.
TEST(Fusion, GradientsInOnePass) {
  auto check = [](int64_t queries, int64_t keys, int64_t depth, const std::string &attributes, int64_t kvHeads = 2) {
    std::vector<NamedValue> inputs = {{"q", randomTensor({1, 4, queries, depth}, 1)},
                                      {"k", randomTensor({1, kvHeads, keys, depth}, 2)},
                                      {"v", randomTensor({1, kvHeads, keys, depth}, 3)},
                                      {"dout", randomTensor({1, 4, queries, depth}, 4)}};
    auto type = [&](int64_t heads, int64_t rows) {
      return "tensor<1x" + std::to_string(heads) + "x" + std::to_string(rows) + "x" + std::to_string(depth) + "xbf16>";
    };
    std::string q = type(4, queries), k = type(kvHeads, keys);
    compare("fresnel.program @p(%q: " + q + ", %k: " + k + ", %v: " + k +
                ") {\n%out, %lse = fresnel.attend %q, %k, %v {" + attributes + "} : " + q + ", " + k + ", " + k +
                "\nfresnel.return %out {names = [\"out\"]} : " + q + "\n}",
            inputs, /*grad=*/true, /*tolerance=*/2e-4);
  };
  check(70, 130, 96, "causal = true");
  check(200, 33, 64, "scale = 0.3");
  check(129, 129, 128, "causal = true, softcap = 5.0");
  // Sums in integers.
  check(70, 130, 192, "causal = true", 4);
  check(130, 70, 256, "causal = true, softcap = 5.0", 4);
}

// Gradients of the same queries add up where they are rounded: that of the last branch, which comes first, behind that
// over lists, which has separate kernels.
TEST(Fusion, SumsOfGradients) {
  ref::IndexTensor list({1, 2, 200, 2});
  for (size_t i = 0; i < list.data.size(); ++i)
    list.data[i] = int32_t(i % 2 * 3 + i % 3);
  std::vector<NamedValue> inputs = {
      {"q", randomTensor({1, 4, 200, 64}, 1)}, {"k", randomTensor({1, 2, 200, 64}, 2)},
      {"p", randomTensor({1, 2, 24, 64}, 3)},  {"list", list},
      {"w", randomTensor({1, 4, 200, 3}, 4)},  {"dout", randomTensor({1, 4, 200, 64}, 5)}};
  compare(R"(
!q = tensor<1x4x200x64xbf16>
!k = tensor<1x2x200x64xbf16>
!p = tensor<1x2x24x64xbf16>
!list = tensor<1x2x200x2xi32>
!w = tensor<1x4x200x3xbf16>
fresnel.program @p(%q: !q, %k: !k, %p: !p, %list: !list, %w: !w) {
  %a, %as = fresnel.attend %q, %p, %p {causal = true, key_window = 16, key_stride = 8} : !q, !p, !p
  %b, %bs = fresnel.attend %q, %k, %k blocks(%list : !list) {causal = true, key_block = 32} : !q, !k, !k
  %c, %cs = fresnel.attend %q, %k, %k {causal = true, window = 30} : !q, !k, !k
  %g = fresnel.gate %a, %b, %c by %w {activation = #fresnel<activation sigmoid>} : !q, !q, !q by !w
  fresnel.return %g {names = ["out"]} : !q
})",
          inputs, /*grad=*/true, /*tolerance=*/5e-3);
}

/// Lists whose entries repeat, are -1 and come in any order.
static ref::IndexTensor randomLists(std::vector<int64_t> shape, int32_t blocks, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_int_distribution<int32_t> entry(-1, blocks - 1);
  ref::IndexTensor lists(shape);
  for (int32_t &value : lists.data)
    value = entry(engine);
  return lists;
}

static const char *const kListProgram = R"(
!q = tensor<1x4x40x16xf32>
!k = tensor<1x2x35x16xf32>
!l = tensor<1x4x14x5xi32>
fresnel.program @p(%q: !q, %k: !k, %v: !k, %list: !l) {
  %out, %lse = fresnel.attend %q, %k, %v blocks(%list : !l) {query_block = 3, key_block = 4} : !q, !k, !k
  fresnel.return %out {names = ["out"]} : !q
})";

static std::vector<NamedValue> listInputs(ref::IndexTensor lists) {
  return {{"q", randomTensor({1, 4, 40, 16}, 1)},
          {"k", randomTensor({1, 2, 35, 16}, 2)},
          {"v", randomTensor({1, 2, 35, 16}, 3)},
          {"list", std::move(lists)},
          {"dout", randomTensor({1, 4, 40, 16}, 4)}};
}

// The gradients of keys and values read the transposed list: the sums are the same.
TEST(Fusion, TransposedLists) { compare(kListProgram, listInputs(randomLists({1, 4, 14, 5}, 9, 5)), /*grad=*/true); }

// Neither the order of a list's entries nor repetitions matter, nor blocks beyond the keys.
TEST(Interpreter, ListsAreSets) {
  ref::IndexTensor lists({1, 4, 14, 5}), other = lists;
  for (size_t row = 0; row < 4 * 14; ++row)
    for (size_t i = 0; i < 5; ++i) {
      lists.data[5 * row + i] = i < 2 ? int32_t(row % 7 + i) : -1;
      other.data[5 * row + i] = i == 4 ? 1000 : int32_t(row % 7 + 1 - i % 2);
    }
  std::vector<NamedValue> want = runText(kListProgram, listInputs(lists), /*grad=*/true);
  std::vector<NamedValue> got = runText(kListProgram, listInputs(other), /*grad=*/true);
  for (const char *name : {"out", "dq", "dk", "dv"})
    EXPECT_EQ(tensor(got, name).data, tensor(want, name).data) << name;
}

TEST(Reference, TransposeAndListAgree) {
  ref::IndexTensor lists = randomLists({2, 3, 70, 4}, 11, 6);
  ref::IndexTensor bits = ref::transposeBlocks(lists, 11), back = ref::listBlocks(bits, 70);
  EXPECT_EQ(bits.shape, (std::vector<int64_t>{2, 3, 11, 3}));
  for (int64_t row = 0; row < 2 * 3 * 70; ++row) {
    std::set<int32_t> want(&lists.data[size_t(row * 4)], &lists.data[size_t(row * 4)] + 4);
    std::set<int32_t> got(&back.data[size_t(row * 11)], &back.data[size_t(row * 11)] + 11);
    want.erase(-1);
    got.erase(-1);
    EXPECT_EQ(got, want) << "row " << row;
  }
  ref::IndexTensor counts = ref::countRows(bits);
  EXPECT_EQ(counts.shape, (std::vector<int64_t>{2, 3, 11}));
  for (int64_t at = 0; at < 2 * 3 * 11; ++at) {
    int32_t rows = 0;
    for (int64_t row = 0; row < 70; ++row)
      rows += std::count(&back.data[size_t((at / 11 * 70 + row) * 11)],
                         &back.data[size_t((at / 11 * 70 + row) * 11)] + 11, int32_t(at % 11)) > 0;
    EXPECT_EQ(counts.data[size_t(at)], rows) << "block " << at;
  }
}

// NSA's scores: the LSE is that of the compressed attention, and scores of windows are not stored.
TEST(Fusion, ScoresOfBlocksFromWindows) {
  for (const char *causal : {"true", "false"}) {
    std::vector<NamedValue> inputs = {{"q", randomTensor({1, 4, 100, 64}, 1)}, {"k", randomTensor({1, 2, 24, 64}, 2)}};
    std::string masks = std::string("causal = ") + causal + ", key_window = 8, key_stride = 4";
    compare(R"(
!q = tensor<1x4x100x64xbf16>
!k = tensor<1x2x24x64xbf16>
fresnel.program @p(%q: !q, %k: !k) {
  %o, %l = fresnel.attend %q, %k, %k {)" +
                masks + R"(} : !q, !k, !k
  %p = fresnel.block_score %q, %k {)" +
                masks + R"(, normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  %y = fresnel.regroup %p {window = 8, stride = 4, block = 16, seq_len = 100} : tensor<1x2x100x24xf32>
  fresnel.return %o, %y {names = ["o", "y"]} : !q, tensor<1x2x100x7xf32>
})",
            inputs, /*grad=*/false);
  }
}
