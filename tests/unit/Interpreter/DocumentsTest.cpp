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

/// Rows [begin, end) of [B, H, N, D].
ref::Tensor cut(const ref::Tensor &rows, int64_t begin, int64_t end) {
  ref::Tensor part({rows.dim(0), rows.dim(1), end - begin, rows.dim(3)});
  for (int64_t b = 0; b < rows.dim(0); ++b)
    for (int64_t h = 0; h < rows.dim(1); ++h)
      std::copy_n(rows.plane(b, h) + begin * rows.dim(3), part.planeSize(), part.plane(b, h));
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

/// Attention over the packed documents and its gradients are those of each document alone, by a preset each.
void checkPacked(const std::vector<int32_t> &cu, int64_t length, const std::string &packedMethod, const Params &params,
                 const std::string &method, const Params &paramsAlone) {
  std::vector<NamedValue> inputs = {{"q", randomTensor({2, kHeads, length, kDim}, 1)},
                                    {"k", randomTensor({2, kKvHeads, length, kDim}, 2)},
                                    {"v", randomTensor({2, kKvHeads, length, kDim}, 3)},
                                    {"cu_seqlens", makeList(cu)},
                                    {"dout", randomTensor({2, kHeads, length, kDim}, 4)}};
  auto packedParams = getParams(params, length);
  packedParams["documents"] = std::to_string(cu.size() - 1);
  auto packed = run(packedMethod, packedParams, inputs, /*grad=*/true);
  for (size_t i = 0; i + 1 < cu.size(); ++i) {
    if (cu[i] == cu[i + 1])
      continue;
    std::vector<NamedValue> alone;
    for (const NamedValue &input : inputs)
      if (auto *rows = std::get_if<ref::Tensor>(&input.value))
        alone.push_back({input.name, cut(*rows, cu[i], cu[i + 1])});
    auto results = run(method, getParams(paramsAlone, cu[i + 1] - cu[i]), alone, /*grad=*/true);
    for (const char *name : {"out", "dq", "dk", "dv"})
      EXPECT_LT(getDistance(cut(tensor(packed, name), cu[i], cu[i + 1]), tensor(results, name)), 1e-6)
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
