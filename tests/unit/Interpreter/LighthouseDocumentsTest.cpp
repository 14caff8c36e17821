//===- LighthouseDocumentsTest.cpp - Each document as if it were alone ----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Packed documents are run together, then each by itself with the preset for one
// sequence: every result must be the same.
//
//===----------------------------------------------------------------------===//

#include "InterpreterSupport.h"
#include <numeric>

using namespace fresnel;

namespace {

using Params = std::map<std::string, std::string>;

/// Rows [first, first + count) of dimension 2.
template <typename T>
ref::BasicTensor<T> slice(const ref::BasicTensor<T> &x, int64_t first, int64_t count) {
  std::vector<int64_t> shape = x.shape;
  shape[2] = count;
  ref::BasicTensor<T> out(shape);
  int64_t width = x.planeSize() / x.dim(2);
  for (int64_t plane = 0; plane < x.dim(0) * x.dim(1); ++plane)
    std::copy_n(x.plane(0, plane) + first * width, count * width, out.plane(0, plane));
  return out;
}

/// An entry of the pyramid of all documents as that of document `index` alone.
int32_t toAlone(int32_t entry, const std::vector<std::vector<ref::LevelPart>> &parts, size_t index) {
  int64_t before = 0;
  for (const ref::LevelPart &part : parts[index]) {
    if (entry >= part.first && entry < part.first + part.count)
      return int32_t(entry - part.first + before);
    before += part.count;
  }
  return entry < 0 ? entry : INT32_MIN;
}

std::string join(const std::vector<int64_t> &lengths) {
  std::string text;
  for (int64_t length : lengths)
    text += (text.empty() ? "" : ",") + std::to_string(length);
  return text;
}

void expectAlone(const std::vector<int64_t> &lengths, Params params, int64_t heads, int64_t kvHeads, bool grad,
                 bool fuse) {
  int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t(0));
  params.insert({{"heads", std::to_string(heads)}, {"kv_heads", std::to_string(kvHeads)}, {"head_dim", "16"}});
  params.insert({{"dtype", "f32"}, {"batch", "2"}});
  std::vector<NamedValue> inputs = {{"q", randomTensor({2, heads, tokens, 16}, 1)},
                                    {"k", randomTensor({2, kvHeads, tokens, 16}, 2)},
                                    {"v", randomTensor({2, kvHeads, tokens, 16}, 3)}};
  if (grad)
    inputs.push_back({"dout", randomTensor({2, heads, tokens, 16}, 4)});
  auto runPreset = [&](const std::string &preset, Params all, llvm::ArrayRef<NamedValue> values) {
    llvm::Expected<std::string> text = instantiate(*findPreset(preset), all);
    EXPECT_TRUE(bool(text)) << (text ? "" : llvm::toString(text.takeError()));
    return text ? runText(*text, values, grad, fuse) : std::vector<NamedValue>();
  };
  Params packed = params;
  packed["documents"] = join(lengths);
  bool dilated = params.count("dilation");
  std::vector<NamedValue> all =
      runPreset(dilated ? "lighthouse_dilated_documents" : "lighthouse_documents", packed, inputs);
  auto parts = ref::pyramidParts(tokens, std::stoll(params["levels"]), std::stoll(params["factor"]), lengths);

  int64_t slot = 0;
  for (size_t index = 0; index < lengths.size(); ++index) {
    if (lengths[index] == 0)
      continue;
    int64_t start = parts[index][0].first;
    std::vector<NamedValue> own;
    for (const NamedValue &input : inputs)
      own.push_back({input.name, slice(std::get<ref::Tensor>(input.value), start, lengths[index])});
    Params single = params;
    single["seq_len"] = std::to_string(lengths[index]);
    std::vector<NamedValue> alone = runPreset(dilated ? "lighthouse_dilated" : "lighthouse", single, own);
    ASSERT_EQ(alone.size(), all.size());
    int64_t slots = 0;
    for (size_t i = 0; i < alone.size(); ++i)
      if (auto *selected = std::get_if<ref::IndexTensor>(&alone[i].value)) {
        slots = selected->dim(2);
        ref::IndexTensor got = slice(std::get<ref::IndexTensor>(all[i].value), slot, slots);
        for (int32_t &entry : got.data)
          entry = toAlone(entry, parts, index);
        EXPECT_EQ(got.data, selected->data) << "selection of document " << index;
      }
    for (const NamedValue &want : alone)
      if (auto *rows = std::get_if<ref::Tensor>(&want.value)) {
        bool ofSlots = want.name == "lse";
        EXPECT_EQ(slice(tensor(all, want.name), ofSlots ? slot : start, rows->dim(2)).data, rows->data)
            << want.name << " of document " << index;
      }
    slot += slots;
  }
  EXPECT_EQ(slot, tensor(all, "lse").dim(2));
}

/// As written and fused, forward and backward.
void expectAlone(const std::vector<int64_t> &lengths, const Params &params, int64_t heads, int64_t kvHeads) {
  for (bool fuse : {false, true})
    for (bool grad : {false, true})
      expectAlone(lengths, params, heads, kvHeads, grad, fuse);
}

} // namespace

TEST(LighthouseDocuments, EachAsIfAlone) {
  expectAlone({61, 40, 100}, {{"topk", "5"}, {"levels", "3"}, {"factor", "2"}}, 2, 2);
  expectAlone({33, 70}, {{"topk", "130"}, {"levels", "4"}, {"factor", "3"}}, 1, 1);
}

TEST(LighthouseDocuments, EmptyOnesAndSingleTokens) {
  expectAlone({0, 1, 0, 37, 1, 1, 50, 0}, {{"topk", "4"}, {"levels", "3"}, {"factor", "4"}}, 2, 1);
  expectAlone({0, 45, 0}, {{"topk", "4"}, {"levels", "3"}, {"factor", "2"}}, 1, 1);
  expectAlone({1, 1, 1}, {{"topk", "1"}, {"levels", "2"}, {"factor", "2"}}, 1, 1);
}

TEST(LighthouseDocuments, OneLevel) {
  expectAlone({20, 0, 31}, {{"topk", "3"}, {"levels", "1"}, {"factor", "2"}}, 2, 2);
}

TEST(LighthouseDocuments, SharedAndOpenSelections) {
  expectAlone({45, 64}, {{"topk", "3"}, {"levels", "3"}, {"factor", "2"}, {"open_first_window", "true"}}, 2, 2);
  expectAlone({45, 9, 30}, {{"topk", "3"}, {"levels", "3"}, {"factor", "3"}, {"per_kv_head", "true"}}, 4, 2);
}

TEST(LighthouseDocuments, DilatedScores) {
  Params params{{"topk", "4"}, {"levels", "3"}, {"factor", "2"}, {"dilation", "3"}};
  expectAlone({61, 0, 1, 40}, params, 2, 2);
  expectAlone({33, 12}, params, 4, 2);
  params["dilation"] = "1";
  expectAlone({20, 31}, params, 1, 1);
}

TEST(LighthouseDocuments, LongWindowsStayPlain) {
  // Windows of 512 tokens are not pooled level by level in one pass.
  expectAlone({700, 1030}, {{"topk", "2"}, {"levels", "4"}, {"factor", "8"}}, 1, 1);
}

TEST(LighthouseDocuments, LengthsMustFit) {
  auto getRefusal = [](Params params) {
    llvm::Expected<std::string> text = instantiate(*findPreset("lighthouse_documents"), params);
    return text ? "" : llvm::toString(text.takeError());
  };
  EXPECT_EQ(getRefusal({{"documents", "10,20"}, {"seq_len", "30"}}), "");
  EXPECT_NE(getRefusal({{"documents", "10,20"}, {"seq_len", "31"}}).find("sum to 30 tokens, but 'seq_len' is 31"),
            std::string::npos);
  EXPECT_NE(getRefusal({{"documents", "10,-2"}}).find("but got '-2' in '10,-2'"), std::string::npos);
  EXPECT_NE(getRefusal({{"documents", ""}}).find("but got ''"), std::string::npos);
  EXPECT_NE(getRefusal({{"documents", "0,0"}}).find("hold no token"), std::string::npos);
}
