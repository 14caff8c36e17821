//===- DocumentsTest.cpp - Packed documents against one call per document
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Documents.h"
#include "InterpreterSupport.h"

using namespace fresnel;

namespace {

constexpr int64_t kHeads = 4, kKvHeads = 2, kDim = 16;

ref::IndexTensor makeList(std::vector<int32_t> entries) {
  int64_t count = int64_t(entries.size());
  return ref::IndexTensor({1, 1, count}, std::move(entries));
}

/// Rows [begin, end) of [B, H, N, D], and zeros up to `length` rows.
ref::Tensor cut(const ref::Tensor &rows, int64_t begin, int64_t end, int64_t length = 0) {
  ref::Tensor part({rows.dim(0), rows.dim(1), std::max(length, end - begin), rows.dim(3)});
  for (int64_t b = 0; b < rows.dim(0); ++b)
    for (int64_t h = 0; h < rows.dim(1); ++h)
      std::copy_n(rows.plane(b, h) + begin * rows.dim(3), (end - begin) * rows.dim(3), part.plane(b, h));
  return part;
}

std::map<std::string, std::string> getParams(std::map<std::string, std::string> params, int64_t length) {
  for (auto [name, value] : {std::pair("batch", int64_t(2)),
                             {"heads", kHeads},
                             {"kv_heads", kKvHeads},
                             {"seq_len", length},
                             {"head_dim", kDim}})
    params[name] = std::to_string(value);
  params["dtype"] = "f32";
  return params;
}

using Params = std::map<std::string, std::string>;

/// What a method takes beside q, k and v, and of which documents.
struct Extra {
  /// Columns of its gates, 0 without.
  int64_t gates = 0;
  /// Shorter documents are padded with zeros, which tokens in front of them do not see.
  int64_t shortest = 1;
};

/// Attention over the packed documents and its gradients are those of each document alone, by a preset each.
void checkPacked(const std::vector<int32_t> &cu, int64_t length, const std::string &packedMethod, const Params &params,
                 const std::string &method, const Params &paramsAlone, Extra extra = {}) {
  std::vector<NamedValue> inputs = {{"q", randomTensor({2, kHeads, length, kDim}, 1)},
                                    {"k", randomTensor({2, kKvHeads, length, kDim}, 2)},
                                    {"v", randomTensor({2, kKvHeads, length, kDim}, 3)},
                                    {"cu_seqlens", makeList(cu)},
                                    {"dout", randomTensor({2, kHeads, length, kDim}, 4)}};
  std::vector<std::string> names = {"out", "dq", "dk", "dv"};
  if (extra.gates) {
    inputs.push_back({"gates", randomTensor({2, kHeads, length, extra.gates}, 5)});
    names.push_back("dgates");
  }
  auto packedParams = getParams(params, length);
  packedParams["documents"] = std::to_string(cu.size() - 1);
  auto packed = run(packedMethod, packedParams, inputs, /*grad=*/true);
  for (size_t i = 0; i + 1 < cu.size(); ++i) {
    if (cu[i] == cu[i + 1])
      continue;
    std::vector<NamedValue> alone;
    for (const NamedValue &input : inputs)
      if (auto *rows = std::get_if<ref::Tensor>(&input.value))
        alone.push_back({input.name, cut(*rows, cu[i], cu[i + 1], extra.shortest)});
    int64_t tokens = cu[i + 1] - cu[i];
    auto results = run(method, getParams(paramsAlone, std::max(tokens, extra.shortest)), alone, /*grad=*/true);
    for (const std::string &name : names)
      EXPECT_LT(getDistance(cut(tensor(packed, name), cu[i], cu[i + 1]), cut(tensor(results, name), 0, tokens)), 1e-6)
          << name << " of document " << i;
  }
}

} // namespace

TEST(Documents, BoundsAreThoseOfEachToken) {
  ref::IndexTensor bounds = ref::documentBounds(makeList({0, 3, 3, 4, 6, 6}), 6);
  EXPECT_EQ(bounds.shape, (std::vector<int64_t>{1, 2, 6}));
  EXPECT_EQ(bounds.data, (std::vector<int32_t>{0, 0, 0, 3, 4, 4, 3, 3, 3, 4, 6, 6}));
}

TEST(Documents, AnyEntriesGiveBoundsInside) {
  // Tokens before the first and behind the last entry are documents; order and entries outside do not matter.
  EXPECT_EQ(ref::documentBounds(makeList({2, 4}), 5).data, (std::vector<int32_t>{0, 0, 2, 2, 4, 2, 2, 4, 4, 5}));
  EXPECT_EQ(ref::documentBounds(makeList({100, 2, -7, 2}), 3).data, (std::vector<int32_t>{0, 0, 2, 2, 2, 3}));
}

TEST(Documents, PackedIsAsEachAlone) {
  for (const Params &params : {Params{{"causal", "true"}}, {{"causal", "false"}, {"softcap", "1.5"}}})
    checkPacked({0, 1, 12, 12, 29, 37, 37}, 37, "documents", params, "dense", params);
  checkPacked({0, 37}, 37, "documents", {{"causal", "true"}}, "dense", {{"causal", "true"}});
}

TEST(Documents, WindowsEndAtTheDocument) {
  checkPacked({0, 17, 41}, 41, "documents", {{"window", "7"}}, "window", {{"window", "7"}});
}

TEST(Documents, ListsOfAlignedDocumentsAreThoseOfEachAlone) {
  Params params{{"block", "8"}, {"topk", "2"}};
  checkPacked({0, 8, 40, 40, 64, 77}, 77, "moba_documents", params, "moba", params);
}

TEST(Documents, ListsEndAtTheDocumentWhereverItBegins) {
  checkPacked({0, 1, 12, 12, 29, 37}, 37, "moba_documents", {{"block", "8"}, {"topk", "5"}}, "dense",
              {{"causal", "true"}});
}

TEST(Documents, PlacesBeginWithBlocks) {
  ref::AlignedDocuments aligned = ref::alignDocuments(makeList({0, 3, 3, 5, 6}), 6, 2);
  // Five entries may end five documents, and there may be tokens behind: there is room for six.
  EXPECT_EQ(aligned.from.data, (std::vector<int32_t>{0, 1, 2, -1, 3, 4, 5, -1, -1, -1, -1, -1}));
  EXPECT_EQ(aligned.to.data, (std::vector<int32_t>{0, 1, 2, 4, 5, 6}));
  EXPECT_EQ(aligned.bounds.data, (std::vector<int32_t>{0, 0, 0, 0, 4, 4, 6, 6, 8,  8,  10, 10, //
                                                       4, 4, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12}));
  EXPECT_EQ(aligned.tokens.data, (std::vector<int32_t>{0, 0, 0, 0, 4, 4, 6, 6, 8, 8, 10, 10, //
                                                       3, 3, 3, 3, 6, 6, 7, 7, 8, 8, 10, 10}));
  EXPECT_EQ(aligned.blocks.data, (std::vector<int32_t>{0, 0, 2, 3, 4, 5, 2, 2, 3, 4, 5, 6}));
}

TEST(Documents, KnownLengthsTakeNoPlacesBehind) {
  ref::AlignedDocuments aligned = ref::alignDocuments({3, 0, 1, 2}, 2);
  EXPECT_EQ(aligned.from.data, (std::vector<int32_t>{0, 1, 2, -1, 3, -1, 4, 5}));
  EXPECT_EQ(aligned.blocks.data, (std::vector<int32_t>{0, 0, 2, 3, 2, 2, 3, 4}));
}

TEST(Documents, AnyEntriesGivePlacesInside) {
  // An entry below one in front of it ends a document without tokens; the end of the last one is that of the sequence.
  EXPECT_EQ(ref::alignDocuments(makeList({2, 1, -7, 100, 3}), 4, 3).to.data, (std::vector<int32_t>{0, 1, 3, 4}));
  EXPECT_EQ(ref::alignDocuments(makeList({-2147483647, 1}), 3, 1).from.data, (std::vector<int32_t>{0, 1, 2}));
}

TEST(Documents, BoundsAreNarrowedByAnyWindow) {
  ref::IndexTensor bounds({1, 2, 4}, std::vector<int32_t>{0, 0, 0, 3, 3, 3, 3, 4});
  EXPECT_EQ(ref::narrowBounds(bounds, 2).data, (std::vector<int32_t>{0, 0, 1, 3, 2, 3, 3, 4}));
  EXPECT_EQ(ref::narrowBounds(bounds, INT64_MAX).data, bounds.data);
}

TEST(Documents, NativeSparseAttentionIsThatOfEachAlone) {
  Params params{{"window", "8"}, {"stride", "4"}, {"block", "8"}, {"topk", "4"}, {"sliding", "11"}};
  checkPacked({0, 1, 70, 70, 75, 131, 139}, 139, "nsa_documents", params, "nsa", params, {3, 8});
  // Windows that reach over two blocks.
  params = {{"window", "12"}, {"stride", "4"}, {"block", "4"}, {"topk", "3"}, {"sliding", "5"}};
  checkPacked({0, 30, 31, 63, 63}, 63, "nsa_documents", params, "nsa", params, {3, 12});
}

TEST(Documents, NativeSparseAttentionSelectsTheBlocksOfEachDocument) {
  Params params{{"window", "8"}, {"stride", "4"}, {"block", "8"}, {"topk", "4"}, {"sliding", "11"}};
  std::vector<int32_t> cu = {0, 45, 50, 113};
  std::vector<NamedValue> inputs = {{"q", randomTensor({2, kHeads, 113, kDim}, 1)},
                                    {"k", randomTensor({2, kKvHeads, 113, kDim}, 2)},
                                    {"v", randomTensor({2, kKvHeads, 113, kDim}, 3)},
                                    {"gates", randomTensor({2, kHeads, 113, 3}, 4)}};
  std::vector<NamedValue> packedInputs = inputs;
  packedInputs.push_back({"cu_seqlens", makeList(cu)});
  auto packedParams = getParams(params, 113);
  packedParams["documents"] = "3";
  ref::IndexTensor packed = std::get<ref::IndexTensor>(run("nsa_documents", packedParams, packedInputs)[1].value);
  int32_t firstBlock = 0;
  for (size_t i = 0; i + 1 < cu.size(); ++i) {
    int64_t tokens = cu[i + 1] - cu[i], length = std::max<int64_t>(tokens, 8);
    std::vector<NamedValue> alone;
    for (const NamedValue &input : inputs)
      alone.push_back({input.name, cut(std::get<ref::Tensor>(input.value), cu[i], cu[i + 1], length)});
    auto lists = std::get<ref::IndexTensor>(run("nsa", getParams(params, length), alone)[1].value);
    for (int64_t plane = 0; plane < 2 * kKvHeads; ++plane)
      for (int64_t row = 0; row < tokens; ++row)
        for (int64_t entry = 0; entry < packed.dim(3); ++entry) {
          int32_t block = entry < lists.dim(3) ? lists.plane(0, plane)[row * lists.dim(3) + entry] : -1;
          EXPECT_EQ(packed.plane(0, plane)[(cu[i] + row) * packed.dim(3) + entry], block < 0 ? -1 : firstBlock + block)
              << "token " << row << " of document " << i;
        }
    firstBlock += int32_t((tokens + 7) / 8);
  }
}

TEST(Documents, VideoSparseAttentionIsThatOfEachAlone) {
  Params params{{"block", "8"}, {"topk", "2"}};
  checkPacked({0, 1, 45, 45, 53, 58}, 58, "vsa_documents", params, "vsa", params, {2});
}
