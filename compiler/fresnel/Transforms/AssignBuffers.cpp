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

struct AssignBuffersPass final : impl::AssignBuffersPassBase<AssignBuffersPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    place(main);
    // The halves of a program run at different times: each has a workspace of its own.
    if (ProgramOp backward = findBackwardProgram(getOperation()))
      place(backward);
  }

  void place(ProgramOp program) {
    DenseMap<Operation *, int64_t> order;
    for (auto [index, op] : llvm::enumerate(program.getBody().front()))
      order[&op] = index;
    SmallVector<Placement> placed;
    int64_t end = 0;
    SymbolTable symbols(getOperation());
    // The first launch that may still run when the next one starts.
    int64_t running = 0;
    for (auto launch : program.getBody().getOps<LaunchOp>()) {
      SmallVector<int64_t> offsets;
      Operation *kernel = symbols.lookup(launch.getCallee());
      auto wait = kernel ? kernel->getAttrOfType<StringAttr>(kWaitAttr) : StringAttr();
      int64_t begin = wait && wait.getValue() == kWaitAtEnd ? running : order[launch];
      auto zeroed = kernel ? kernel->getAttrOfType<DenseI64ArrayAttr>(kZeroedAttr) : DenseI64ArrayAttr();
      for (OpResult result : launch.getResults()) {
        int64_t lastUse = order[launch];
        // What is zero when the plan starts is alive from then on.
        bool early = zeroed && llvm::is_contained(zeroed.asArrayRef(), int64_t(result.getResultNumber()));
        int64_t firstUse = early ? 0 : begin;
        bool returned = false;
        for (Operation *user : result.getUsers()) {
          lastUse = std::max(lastUse, order[user]);
          returned |= isa<ReturnOp>(user);
        }
        if (returned) {
          offsets.push_back(-1);
          continue;
        }
        int64_t bytes = getBytes(result.getType());
        int64_t offset = findOffset(placed, firstUse, lastUse, bytes);
        placed.push_back({firstUse, lastUse, offset, bytes});
        offsets.push_back(offset);
        end = std::max<int64_t>(end, llvm::alignTo(offset + bytes, kAlignment));
      }
      launch.setOffsets(offsets);
      if (wait && wait.getValue() == kWaitBeforeNext)
        running = order[launch];
    }
    program->setAttr(kWorkspaceAttr, Builder(program.getContext()).getI64IntegerAttr(end));
  }
};

} // namespace
} // namespace fresnel
