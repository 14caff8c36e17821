//===- AssignBuffers.cpp - Places for intermediate tensors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Target/TargetInfo.h"
#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_ASSIGNBUFFERSPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

constexpr int64_t kAlignment = 256;
/// Bytes of workspace for which a kernel waits for the launches before it. To write as many takes some 30
/// microseconds, more than what is saved while the last blocks of another kernel run.
constexpr int64_t kWorth = int64_t(128) << 20;

/// A tensor in the workspace, from the launch that writes it to the last that reads it.
struct Placement {
  int64_t firstUse, lastUse, offset, bytes;
};

static int64_t getBytes(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return tensor.getNumElements() * tensor.getElementTypeBitWidth() / 8;
}

/// The lowest offset at which `bytes` meet no placement that is alive at the same time.
static int64_t findOffset(ArrayRef<Placement> placed, int64_t firstUse, int64_t lastUse, int64_t bytes) {
  SmallVector<Placement> rivals;
  for (const Placement &other : placed)
    if (other.firstUse <= lastUse && firstUse <= other.lastUse)
      rivals.push_back(other);
  llvm::sort(rivals, [](const Placement &a, const Placement &b) { return a.offset < b.offset; });
  int64_t offset = 0;
  for (const Placement &rival : rivals) {
    if (offset + bytes <= rival.offset)
      break;
    offset = std::max<int64_t>(offset, llvm::alignTo(rival.offset + rival.bytes, kAlignment));
  }
  return offset;
}

/// Gives the tensors places, one after the other in `order`; the bytes of all.
static int64_t placeInOrder(MutableArrayRef<Placement> tensors, ArrayRef<size_t> order) {
  SmallVector<Placement> placed;
  int64_t end = 0;
  for (size_t index : order) {
    Placement &tensor = tensors[index];
    tensor.offset = findOffset(placed, tensor.firstUse, tensor.lastUse, tensor.bytes);
    placed.push_back(tensor);
    end = std::max<int64_t>(end, llvm::alignTo(tensor.offset + tensor.bytes, kAlignment));
  }
  return end;
}

/// The same in the order in which they are written, or the largest first if that takes less: a small tensor may lie in
/// the middle of what a large one leaves, so that another large one finds no place there.
static int64_t placeAll(MutableArrayRef<Placement> tensors) {
  SmallVector<size_t> written = llvm::to_vector(llvm::seq(tensors.size())), largest = written;
  llvm::stable_sort(largest, [&](size_t a, size_t b) { return tensors[a].bytes > tensors[b].bytes; });
  int64_t bytes = placeInOrder(tensors, written);
  SmallVector<Placement> other(tensors);
  if (int64_t fewer = placeInOrder(other, largest); fewer < bytes) {
    llvm::copy(other, tensors.begin());
    return fewer;
  }
  return bytes;
}

/// The operand in whose place the result may lie, or null: each element is read and then written by one thread, and
/// nothing else reads it.
static Value findReplaced(LaunchOp launch, Operation *kernel) {
  auto program = dyn_cast_if_present<ProgramOp>(kernel);
  auto round = program ? dyn_cast<RoundTilesOp>(program.getBody().front().front()) : RoundTilesOp();
  if (!round || !round.getAddend() || launch.getInputs().size() != round->getNumOperands())
    return {};
  // The last one.
  Value addend = launch.getInputs().back();
  bool fits = launch.getNumResults() == 1 && launch.getResult(0).getType() == addend.getType();
  return fits && addend.hasOneUse() ? addend : Value();
}

/// What lies in the workspace, and which tensors lie where.
struct Workspace {
  SmallVector<Placement> placements;
  DenseMap<Value, size_t> places;
  int64_t bytes = 0;
};

struct AssignBuffersPass final : impl::AssignBuffersPassBase<AssignBuffersPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    // The halves of a program run at different times: each has a workspace of its own.
    for (ProgramOp program : {main, findBackwardProgram(getOperation())})
      if (program)
        place(program);
  }

  void place(ProgramOp program) {
    Workspace workspace = layOut(program);
    for (auto launch : program.getBody().getOps<LaunchOp>()) {
      Operation *kernel = findKernel(launch);
      if (!isBeside(kernel))
        continue;
      Attribute wait = kernel->removeAttr(kWaitAttr);
      Workspace other = layOut(program);
      if (workspace.bytes - other.bytes >= kWorth)
        workspace = other;
      else
        kernel->setAttr(kWaitAttr, wait);
    }
    for (auto launch : program.getBody().getOps<LaunchOp>())
      launch.setOffsets(llvm::map_to_vector(launch.getResults(), [&](Value result) {
        auto place = workspace.places.find(result);
        return place == workspace.places.end() ? int64_t(-1) : workspace.placements[place->second].offset;
      }));
    program->setAttr(kWorkspaceAttr, Builder(program.getContext()).getI64IntegerAttr(workspace.bytes));
  }

  Operation *findKernel(LaunchOp launch) { return SymbolTable::lookupSymbolIn(getOperation(), launch.getCallee()); }

  static bool waits(Operation *kernel, StringRef when) {
    auto wait = kernel ? kernel->getAttrOfType<StringAttr>(kWaitAttr) : StringAttr();
    return wait && wait.getValue() == when;
  }

  /// Whether a kernel runs beside the launches before its own.
  static bool isBeside(Operation *kernel) { return waits(kernel, kWaitAtEnd); }

  Workspace layOut(ProgramOp program) {
    DenseMap<Operation *, int64_t> order;
    for (auto [index, op] : llvm::enumerate(program.getBody().front()))
      order[&op] = index;
    Workspace workspace;
    // The first launch that may still run when the next one starts.
    int64_t running = 0;
    for (auto launch : program.getBody().getOps<LaunchOp>()) {
      Operation *kernel = findKernel(launch);
      int64_t begin = isBeside(kernel) ? running : order[launch];
      auto zeroed = kernel ? kernel->getAttrOfType<DenseI64ArrayAttr>(kZeroedAttr) : DenseI64ArrayAttr();
      for (OpResult result : launch.getResults()) {
        // What the program returns has a place of its own.
        if (llvm::any_of(result.getUsers(), llvm::IsaPred<ReturnOp>))
          continue;
        int64_t lastUse = order[launch];
        for (Operation *user : result.getUsers())
          lastUse = std::max(lastUse, order[user]);
        // What is zero when the plan starts is alive from then on.
        bool early = zeroed && llvm::is_contained(zeroed.asArrayRef(), int64_t(result.getResultNumber()));
        if (auto replaced = workspace.places.find(findReplaced(launch, kernel)); replaced != workspace.places.end()) {
          size_t place = replaced->second;
          workspace.places[result] = place;
          workspace.placements[place].lastUse = lastUse;
          kernel->setAttr(kInPlaceAttr, UnitAttr::get(&getContext()));
          continue;
        }
        workspace.places[result] = workspace.placements.size();
        workspace.placements.push_back({early ? 0 : begin, lastUse, /*offset=*/0, getBytes(result.getType())});
      }
      if (waits(kernel, kWaitBeforeNext))
        running = order[launch];
    }
    workspace.bytes = placeAll(workspace.placements);
    return workspace;
  }
};

} // namespace
} // namespace fresnel
