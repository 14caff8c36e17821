//===- InterpreterTest.cpp - Presets against their papers' formulas and golden data
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The expected values are computed here, straight from the formulas, with plain
// loops over tokens; nothing of the reference library is called for them.
//
//===----------------------------------------------------------------------===//

#include "InterpreterSupport.h"
#include <functional>

using namespace fresnel;

namespace {

using Row = std::vector<double>;
/// Which keys a query sees.
using Mask = std::function<bool(int64_t head, int64_t query, int64_t key)>;

struct Problem {
  std::map<std::string, std::string> params;
  int64_t heads, kvHeads, length, dim;
  std::vector<NamedValue> inputs;

  const ref::Tensor &get(int i) const { return std::get<ref::Tensor>(inputs[size_t(i)].value); }
  const float *q(int64_t h, int64_t i) const { return &get(0).data[size_t((h * length + i) * dim)]; }
  const float *k(int64_t h, int64_t j) const {
    return &get(1).data[size_t((h / (heads / kvHeads) * length + j) * dim)];
  }
  const float *v(int64_t h, int64_t j) const {
    return &get(2).data[size_t((h / (heads / kvHeads) * length + j) * dim)];
  }
};

Problem makeProblem(int64_t heads, int64_t kvHeads, int64_t length, int64_t dim,
                    std::map<std::string, std::string> params) {
  Problem p{std::move(params), heads, kvHeads, length, dim, {}};
  for (auto [name, value] : {std::pair("heads", heads), {"kv_heads", kvHeads}, {"seq_len", length}, {"head_dim", dim}})
    p.params[name] = std::to_string(value);
  p.params["dtype"] = "f32";
  p.inputs = {{"q", randomTensor({1, heads, length, dim}, 1)},
              {"k", randomTensor({1, kvHeads, length, dim}, 2)},
              {"v", randomTensor({1, kvHeads, length, dim}, 3)}};
  return p;
}

double dot(const float *a, const float *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += double(a[i]) * b[i];
  return sum;
}

/// softmax over the visible keys, then the weighted sum of values.
Row attendRow(const Problem &p, int64_t h, int64_t i, const Mask &mask, double scale) {
  Row out(size_t(p.dim), 0.0), weights(size_t(p.length), 0.0);
  double total = 0;
  for (int64_t j = 0; j < p.length; ++j)
    if (mask(h, i, j))
      total += weights[size_t(j)] = std::exp(scale * dot(p.q(h, i), p.k(h, j), p.dim));
  for (int64_t j = 0; total > 0 && j < p.length; ++j)
    for (int64_t d = 0; d < p.dim; ++d)
      out[size_t(d)] += weights[size_t(j)] / total * p.v(h, j)[d];
  return out;
}

void expectRows(const ref::Tensor &got, const Problem &p, const std::function<Row(int64_t, int64_t)> &row) {
  double difference = 0, norm = 0;
  for (int64_t h = 0; h < p.heads; ++h)
    for (int64_t i = 0; i < p.length; ++i) {
      Row want = row(h, i);
      for (int64_t d = 0; d < p.dim; ++d) {
        double delta = got.data[size_t((h * p.length + i) * p.dim + d)] - want[size_t(d)];
        difference += delta * delta;
        norm += want[size_t(d)] * want[size_t(d)];
      }
    }
  EXPECT_LT(std::sqrt(difference / norm), 1e-6);
}

/// Mean of the rows [begin, end) of a head of tensor `t`.
Row meanRows(const Problem &p, const float *(Problem::*rows)(int64_t, int64_t) const, int64_t h, int64_t begin,
             int64_t end) {
  Row mean(size_t(p.dim), 0.0);
  for (int64_t j = begin; j < end; ++j)
    for (int64_t d = 0; d < p.dim; ++d)
      mean[size_t(d)] += (p.*rows)(h, j)[d] / double(end - begin);
  return mean;
}

double dot(const float *a, const Row &b) {
  double sum = 0;
  for (size_t i = 0; i < b.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

} // namespace

TEST(Presets, Dense) {
  Problem p = makeProblem(4, 2, 37, 16, {{"causal", "true"}});
  auto out = run("dense", p.params, p.inputs);
  expectRows(tensor(out, "out"), p, [&](int64_t h, int64_t i) {
    return attendRow(p, h, i, [](int64_t, int64_t i, int64_t j) { return j <= i; }, 0.25);
  });
}

TEST(Presets, DenseScaleWithoutMask) {
  Problem p = makeProblem(2, 1, 29, 16, {{"causal", "false"}, {"scale", "0.5"}});
  auto out = run("dense", p.params, p.inputs);
  expectRows(tensor(out, "out"), p, [&](int64_t h, int64_t i) {
    return attendRow(p, h, i, [](int64_t, int64_t, int64_t) { return true; }, 0.5);
  });
}

TEST(Presets, WindowWithSinks) {
  Problem p = makeProblem(2, 2, 61, 16, {{"window", "7"}, {"sinks", "3"}});
  auto out = run("window", p.params, p.inputs);
  expectRows(tensor(out, "out"), p, [&](int64_t h, int64_t i) {
    return attendRow(p, h, i, [](int64_t, int64_t i, int64_t j) { return j <= i && (i - j < 7 || j < 3); }, 0.25);
  });
}

// MoBA, section 2.2: the gate is q . mean(K of the block), the own block is
// always taken, blocks of the future never; attention is causal inside.
TEST(Presets, Moba) {
  constexpr int64_t kBlock = 8, kTopk = 3;
  Problem p = makeProblem(4, 2, 61, 16, {{"block", "8"}, {"topk", "3"}});
  auto out = run("moba", p.params, p.inputs);
  expectRows(tensor(out, "out"), p, [&](int64_t h, int64_t i) {
    std::vector<std::pair<double, int64_t>> past;
    int64_t own = i / kBlock;
    for (int64_t b = 0; b < own; ++b)
      past.push_back({-dot(p.q(h, i), meanRows(p, &Problem::k, h, b * kBlock, (b + 1) * kBlock)), b});
    std::sort(past.begin(), past.end());
    std::vector<bool> open(size_t(own + 1), false);
    open[size_t(own)] = true;
    for (size_t n = 0; n < past.size() && n + 1 < kTopk; ++n)
      open[size_t(past[n].second)] = true;
    return attendRow(p, h, i, [&](int64_t, int64_t i, int64_t j) { return j <= i && open[size_t(j / kBlock)]; }, 0.25);
  });
}

// NSA, equations 5, 7 to 12: compressed, selected and sliding branches.
TEST(Presets, Nsa) {
  constexpr int64_t kWindow = 8, kStride = 4, kBlock = 8, kTopk = 4, kSliding = 10;
  Problem p =
      makeProblem(4, 2, 67, 16, {{"window", "8"}, {"stride", "4"}, {"block", "8"}, {"topk", "4"}, {"sliding", "10"}});
  p.inputs.push_back({"gates", randomTensor({1, 4, 67, 3}, 4)});
  auto out = run("nsa", p.params, p.inputs);
  int64_t group = p.heads / p.kvHeads, windows = (p.length - kWindow) / kStride + 1;
  // Probabilities over the compressed keys that end at or before the query.
  auto probabilities = [&](int64_t h, int64_t i) {
    Row row(size_t(windows), 0.0);
    double total = 0;
    for (int64_t w = 0; w < windows && w * kStride + kWindow - 1 <= i; ++w)
      total += row[size_t(w)] =
          std::exp(0.25 * dot(p.q(h, i), meanRows(p, &Problem::k, h, w * kStride, w * kStride + kWindow)));
    for (double &value : row)
      value = total > 0 ? value / total : 0;
    return row;
  };
  auto compressed = [&](int64_t h, int64_t i) {
    Row row(size_t(p.dim), 0.0), weights = probabilities(h, i);
    for (int64_t w = 0; w < windows; ++w) {
      Row value = meanRows(p, &Problem::v, h, w * kStride, w * kStride + kWindow);
      for (size_t d = 0; d < row.size(); ++d)
        row[d] += weights[size_t(w)] * value[d];
    }
    return row;
  };
  auto selected = [&](int64_t h, int64_t i) {
    // A block's score: each of its cells counts every window that covers it, summed over the group.
    int64_t own = i / kBlock, first = h / group * group;
    std::vector<std::pair<double, int64_t>> scores;
    for (int64_t b = 0; b <= own; ++b) {
      double score = 0;
      for (int64_t member = first; member < first + group; ++member) {
        Row row = probabilities(member, i);
        for (int64_t token = b * kBlock; token < (b + 1) * kBlock; token += kStride)
          for (int64_t w = 0; w < windows; ++w)
            if (w * kStride <= token && token < w * kStride + kWindow)
              score += row[size_t(w)];
      }
      bool forced = b == 0 || b >= own - 1;
      scores.push_back({forced ? -INFINITY : -double(float(score)), b});
    }
    std::sort(scores.begin(), scores.end());
    std::vector<bool> open(size_t(own + 1), false);
    for (size_t n = 0; n < scores.size() && n < size_t(kTopk); ++n)
      open[size_t(scores[n].second)] = true;
    return attendRow(p, h, i, [&](int64_t, int64_t i, int64_t j) { return j <= i && open[size_t(j / kBlock)]; }, 0.25);
  };
  const auto &gates = std::get<ref::Tensor>(p.inputs[3].value);
  expectRows(tensor(out, "out"), p, [&](int64_t h, int64_t i) {
    Row branches[] = {
        compressed(h, i), selected(h, i),
        attendRow(p, h, i, [&](int64_t, int64_t i, int64_t j) { return j <= i && i - j < kSliding; }, 0.25)};
    Row row(size_t(p.dim), 0.0);
    for (int64_t n = 0; n < 3; ++n) {
      double gate = 1 / (1 + std::exp(-double(gates.data[size_t((h * p.length + i) * 3 + n)])));
      for (size_t d = 0; d < row.size(); ++d)
        row[d] += gate * branches[n][d];
    }
    return row;
  });
}

// VSA, section 3: attention between cube means, its output shared by the cube's
// tokens; the best cubes per query cube for the fine attention; gated sum.
TEST(Presets, Vsa) {
  constexpr int64_t kBlock = 8, kTopk = 2;
  Problem p = makeProblem(2, 2, 43, 16, {{"block", "8"}, {"topk", "2"}});
  p.inputs.push_back({"gates", randomTensor({1, 2, 43, 2}, 4)});
  auto out = run("vsa", p.params, p.inputs);
  int64_t cubes = (p.length + kBlock - 1) / kBlock;
  auto mean = [&](const float *(Problem::*rows)(int64_t, int64_t) const, int64_t h, int64_t c) {
    return meanRows(p, rows, h, c * kBlock, std::min((c + 1) * kBlock, p.length));
  };
  const auto &gates = std::get<ref::Tensor>(p.inputs[3].value);
  expectRows(tensor(out, "out"), p, [&](int64_t h, int64_t i) {
    Row query = mean(&Problem::q, h, i / kBlock), coarse(size_t(p.dim), 0.0);
    std::vector<std::pair<double, int64_t>> scores;
    double total = 0;
    for (int64_t c = 0; c < cubes; ++c) {
      Row key = mean(&Problem::k, h, c);
      double score = 0;
      for (size_t d = 0; d < key.size(); ++d)
        score += query[d] * key[d] / 4;
      scores.push_back({-score, c});
      total += std::exp(score);
    }
    for (auto [score, c] : scores) {
      Row value = mean(&Problem::v, h, c);
      for (size_t d = 0; d < coarse.size(); ++d)
        coarse[d] += std::exp(-score) / total * value[d];
    }
    std::sort(scores.begin(), scores.end());
    std::vector<bool> open(size_t(cubes), false);
    for (int64_t n = 0; n < kTopk; ++n)
      open[size_t(scores[size_t(n)].second)] = true;
    Row row = attendRow(p, h, i, [&](int64_t, int64_t, int64_t j) { return open[size_t(j / kBlock)]; }, 0.25);
    const float *gate = &gates.data[size_t((h * p.length + i) * 2)];
    for (size_t d = 0; d < row.size(); ++d)
      row[d] = gate[0] * coarse[d] + gate[1] * row[d];
    return row;
  });
}

//===----------------------------------------------------------------------===//
// Lighthouse
//===----------------------------------------------------------------------===//

namespace {

class Golden : public testing::TestWithParam<const char *> {};

} // namespace

TEST_P(Golden, Lighthouse) {
  std::string path = getGoldenPath(GetParam());
  rt::Expected<rt::Safetensors> file = rt::readSafetensors(path);
  if (!file)
    GTEST_SKIP() << "golden data is not there: " << path << " (set FRESNEL_GOLDEN_DIR)";
  ref::Tensor q = toTensor(file->tensors.at("q")), want = toTensor(file->tensors.at("out"));
  auto meta = [&](const char *name) { return file->metadata.at(name); };
  auto size = [&](size_t dim) { return std::to_string(q.shape[dim]); };
  std::vector<NamedValue> inputs = {
      {"q", q}, {"k", toTensor(file->tensors.at("k"))}, {"v", toTensor(file->tensors.at("v"))}};
  auto results = run("lighthouse",
                     {{"batch", size(0)},
                      {"heads", size(1)},
                      {"kv_heads", size(1)},
                      {"seq_len", size(2)},
                      {"head_dim", size(3)},
                      {"dtype", "f32"},
                      {"levels", meta("levels")},
                      {"factor", meta("pool")},
                      {"topk", meta("topk")}},
                     inputs);
  EXPECT_LT(getDistance(tensor(results, "out"), want), 1e-5);
  const auto &selected = std::get<ref::IndexTensor>(results[2].value);
  const rt::NamedTensor &expected = file->tensors.at("selected");
  ASSERT_EQ(selected.data.size() * 4, expected.data.size());
  EXPECT_EQ(std::memcmp(selected.data.data(), expected.data.data(), expected.data.size()), 0);
}
INSTANTIATE_TEST_SUITE_P(Files, Golden, testing::Values("a", "b", "c", "d"));

TEST(Lighthouse, AnyLengthAndBudgetIsCausalAndCovers) {
  for (auto [length, topk, levels, factor] :
       {std::tuple(257, 1, 3, 4), {509, 37, 3, 4}, {1021, 200, 4, 2}, {127, 1536, 3, 8}, {61, 5, 1, 2}}) {
    Problem p = makeProblem(4, 2, length, 16,
                            {{"topk", std::to_string(topk)},
                             {"levels", std::to_string(levels)},
                             {"factor", std::to_string(factor)},
                             {"open_first_window", "true"}});
    auto before = run("lighthouse", p.params, p.inputs);
    const ref::Tensor &out = tensor(before, "out");
    for (int64_t row = 0; row < 4 * length; ++row) {
      double sum = 0;
      for (int64_t d = 0; d < 16; ++d)
        sum += std::fabs(out.data[size_t(row * 16 + d)]);
      ASSERT_GT(sum, 0) << "row " << row << " of N = " << length << " is empty";
    }
    const auto &selected = std::get<ref::IndexTensor>(before[2].value);
    int64_t slots = selected.shape[2];
    for (int64_t h = 0; h < 4; ++h) {
      std::vector<int32_t> list(&selected.data[size_t(h * slots)], &selected.data[size_t(h * slots)] + slots);
      auto padding = std::find(list.begin(), list.end(), -1);
      EXPECT_TRUE(std::all_of(padding, list.end(), [](int32_t i) { return i == -1; }));
      std::sort(list.begin(), padding);
      EXPECT_EQ(std::adjacent_find(list.begin(), padding), padding) << "an entry is selected twice";
    }
  }
}

// Norms grow to the largest of a window, and so they do to the largest of the heads: the shared selection is
// that of one query head which has, token by token, the longest query of its group.
TEST(Lighthouse, SharedSelectionTakesTheLargestScoreOfTheGroup) {
  std::map<std::string, std::string> params = {{"topk", "9"}, {"levels", "3"}, {"factor", "2"}};
  Problem p = makeProblem(6, 2, 130, 16, params), one = makeProblem(2, 2, 130, 16, params);
  p.params["per_kv_head"] = "true";
  auto norm = [](const float *row) {
    double squares = 0;
    for (int64_t d = 0; d < 16; ++d)
      squares += double(row[d]) * row[d];
    return squares;
  };
  const ref::Tensor &q = tensor(p.inputs, "q");
  ref::Tensor longest({1, 2, 130, 16});
  for (int64_t h = 0; h < 2; ++h)
    for (int64_t i = 0; i < 130; ++i) {
      const float *best = q.plane(0, 3 * h) + i * 16;
      for (int64_t member = 1; member < 3; ++member)
        if (const float *row = q.plane(0, 3 * h + member) + i * 16; norm(row) > norm(best))
          best = row;
      std::copy_n(best, 16, longest.plane(0, h) + i * 16);
    }
  one.inputs = {{"q", longest}, {"k", tensor(p.inputs, "k")}, {"v", tensor(p.inputs, "v")}};
  auto shared = run("lighthouse", p.params, p.inputs), want = run("lighthouse", one.params, one.inputs);
  const auto &selected = std::get<ref::IndexTensor>(shared[2].value);
  EXPECT_EQ(selected.shape, (std::vector<int64_t>{1, 2, selected.shape[2]}));
  EXPECT_EQ(selected.data, std::get<ref::IndexTensor>(want[2].value).data);
  EXPECT_EQ(tensor(shared, "out").shape, (std::vector<int64_t>{1, 6, 130, 16}));
}

// With every window kept all tokens take part: the base rows see all earlier
// base rows, and the output at a token holds its own attention row.
TEST(Lighthouse, OneLevelIsDenseAttention) {
  Problem p = makeProblem(4, 2, 61, 16, {{"topk", "5"}, {"levels", "1"}, {"factor", "2"}});
  auto out = run("lighthouse", p.params, p.inputs);
  expectRows(tensor(out, "out"), p, [&](int64_t h, int64_t i) {
    return attendRow(p, h, i, [](int64_t, int64_t i, int64_t j) { return j <= i; }, 0.25);
  });
}

TEST(Interpreter, SaysWhatIsWrongWithInputs) {
  Problem p = makeProblem(2, 2, 16, 16, {});
  mlir::MLIRContext context;
  context.loadDialect<FresnelDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(*instantiate(*findPreset("dense"), p.params), &context);
  auto message = [&](llvm::ArrayRef<NamedValue> inputs) {
    auto results = interpret(findMainProgram(*module), inputs);
    return results ? std::string() : llvm::toString(results.takeError());
  };
  EXPECT_EQ(message(p.inputs), "");
  EXPECT_EQ(message(llvm::ArrayRef(p.inputs).drop_back()), "input 'v' is missing");
  std::vector<NamedValue> extra = p.inputs;
  extra.push_back({"w", ref::Tensor({1})});
  EXPECT_EQ(message(extra), "the program has no input 'w'");
  extra = p.inputs;
  extra[0].value = ref::Tensor({1, 2, 8, 16});
  EXPECT_EQ(message(extra), "input 'q' has shape [1, 2, 8, 16], but the program takes [1, 2, 16, 16]");
}

// Results of a 16-bit type hold what that type can hold: selections see what a GPU sees.
TEST(Interpreter, RoundsToTheType) {
  ref::Tensor x({1, 1, 2, 8});
  x.data[0] = 1;
  x.data[8] = 1.0078125f; // the next bf16
  std::vector<NamedValue> results = runText(R"(
fresnel.program @p(%x: tensor<1x1x2x8xbf16>) {
  %y = fresnel.pool mean %x {window = 2} : tensor<1x1x2x8xbf16>
  fresnel.return %y {names = ["y"]} : tensor<1x1x1x8xbf16>
})",
                                            {{"x", x}});
  EXPECT_EQ(tensor(results, "y").data[0], 1.0f) << "ties to even";
}
