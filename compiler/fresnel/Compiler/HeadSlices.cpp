//===- HeadSlices.cpp - How many heads a plan computes at a time
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Compiler/HeadSlices.h"
#include "fresnel/Artifact/TrainingMemory.h"
#include "fresnel/Compiler/ManifestBuilder.h"
#include "fresnel/Tile/Tile.h"
#include "llvm/Support/FormatVariadic.h"
#include <numeric>

using namespace mlir;

namespace fresnel {

/// Rows of queries in each attention of a slice from which on slices take as long as all heads at once, to 2 % (`nsa`
/// and `moba` on an H200, docs/performance/block-lists.md).
static constexpr int64_t kRowsOfSlice = int64_t(1) << 19;

llvm::SmallVector<int64_t> listHeadSlices(ProgramOp program) {
  int64_t batch = 1, heads = 0;
  for (unsigned i = 0; i < program.getNumInputs(); ++i) {
    RankedTensorType type = program.getInputType(i);
    if (type.getRank() < 3)
      continue;
    batch = std::max(batch, type.getDimSize(0));
    if (type.getDimSize(1) > 1)
      heads = std::gcd(heads, type.getDimSize(1));
  }
  llvm::SmallVector<int64_t> slices;
  for (int64_t i = 1; i <= batch; ++i)
    if (batch % i == 0)
      slices.push_back(i);
  for (int64_t i = 2; i <= heads; ++i)
    if (heads % i == 0)
      slices.push_back(batch * i);
  return slices;
}

namespace {
/// Lowers a program for one number of slices after the other, as far as its memory is known.
class SliceSearch {
public:
  SliceSearch(ModuleOp module, ProgramOp program, const CompileOptions &options)
      : module(module), program(program), options(options) {
    this->options.stopAfter = Stage::Tile;
    this->options.dumpDir.clear();
  }

  llvm::Expected<int64_t> fitLimit();
  int64_t fitDenseAttention();

private:
  llvm::Expected<rt::Manifest> measure(int64_t slices);
  int64_t countRows();

  ModuleOp module;
  ProgramOp program;
  CompileOptions options;
};
} // namespace

/// The plans of the program in so many slices, without code.
llvm::Expected<rt::Manifest> SliceSearch::measure(int64_t slices) {
  OwningOpRef<ModuleOp> copy = module.clone();
  options.headSlices = slices;
  if (auto result = runStages(copy, options); !result)
    return result.takeError();
  llvm::StringMap<int64_t> kernels;
  for (auto kernel : copy->getOps<tile::KernelOp>())
    kernels.try_emplace(kernel.getSymName(), kernels.size());
  rt::Manifest manifest;
  if (llvm::Error error = readPlans(*copy, kernels, manifest))
    return error;
  return manifest;
}

llvm::Expected<int64_t> SliceSearch::fitLimit() {
  int64_t least = INT64_MAX, most = 1;
  for (int64_t slices : listHeadSlices(program)) {
    llvm::Expected<rt::Manifest> manifest = measure(slices);
    if (!manifest)
      return manifest.takeError();
    int64_t bytes = std::max(manifest->workspaceBytes, manifest->backward ? manifest->backward->workspaceBytes : 0);
    if (bytes <= options.workspaceLimit)
      return slices;
    least = std::min(least, bytes);
    most = slices;
  }
  return llvm::createStringError(llvm::formatv(
      "the workspace takes {0} bytes at least, in {1} slices of batch and heads; the limit is {2}; raise the limit{3}",
      least, most, options.workspaceLimit, options.groupQueries ? " or compile with --no-grouped-queries" : ""));
}

/// Of the attention with the fewest rows of queries; 0 where there is none.
int64_t SliceSearch::countRows() {
  int64_t rows = 0;
  for (auto attend : program.getBody().getOps<AttendOp>()) {
    auto shape = cast<RankedTensorType>(attend.getQ().getType()).getShape();
    int64_t count = shape[0] * shape[1] * shape[2];
    rows = rows == 0 ? count : std::min(rows, count);
  }
  return rows;
}

int64_t SliceSearch::fitDenseAttention() {
  int64_t chosen = 1, rows = countRows();
  if (!program->hasAttr(kForwardInputsAttr) || rows < 2 * kRowsOfSlice)
    return 1;
  for (int64_t slices : listHeadSlices(program)) {
    if (rows / slices < kRowsOfSlice)
      break;
    llvm::Expected<rt::Manifest> manifest = measure(slices);
    // What is wrong with a program is said when it is compiled, and what cannot be sliced stays whole.
    if (!manifest) {
      llvm::consumeError(manifest.takeError());
      break;
    }
    chosen = slices;
    rt::TrainingMemory memory = rt::measureTrainingMemory(*manifest);
    // Dense attention itself pads and counts a little more; that is no reason to cut it.
    int64_t most = memory.flashTotal() + (slices == 1 ? memory.flashTotal() / 8 : 0);
    if (memory.total() <= most || memory.flashTotal() == 0)
      break;
  }
  return chosen;
}

llvm::Expected<int64_t> chooseHeadSlices(ModuleOp module, const CompileOptions &options) {
  ProgramOp program = findMainProgram(module);
  if (options.headSlices > 0 || !program)
    return std::max<int64_t>(options.headSlices, 1);
  SliceSearch search(module, program, options);
  if (options.workspaceLimit > 0)
    return search.fitLimit();
  return search.fitDenseAttention();
}

} // namespace fresnel
