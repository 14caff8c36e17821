//===- MergeGathers.cpp - One kernel for gathers at the same indices ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_MERGEGATHERSPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

/// Whether two gathers fit into one: same indices, as many heads, pyramids of one row type and length.
bool fit(GatherLevelsOp a, GatherLevelsOp b) {
  auto agree = [](Value x, Value y) {
    auto first = cast<RankedTensorType>(x.getType()), second = cast<RankedTensorType>(y.getType());
    return first.getShape().drop_front(2) == second.getShape().drop_front(2) &&
           first.getElementType() == second.getElementType();
  };
  auto countHeads = [](GatherLevelsOp gather) {
    return cast<RankedTensorType>(gather.getResult(0).getType()).getDimSize(1);
  };
  return a.getIndices() == b.getIndices() && countHeads(a) == countHeads(b) &&
         agree(a.getBases()[0], b.getBases()[0]) && agree(a.getTails()[0], b.getTails()[0]);
}

struct MergeGathersPass final : impl::MergeGathersPassBase<MergeGathersPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    SmallVector<GatherLevelsOp> gathers(main.getBody().getOps<GatherLevelsOp>());
    // From the last on: it takes up the earlier ones that fit.
    while (!gathers.empty()) {
      GatherLevelsOp last = gathers.pop_back_val();
      SmallVector<GatherLevelsOp> members;
      llvm::erase_if(gathers, [&](GatherLevelsOp gather) {
        bool joins = fit(gather, last) &&
                     llvm::none_of(gather->getUsers(), [&](Operation *user) { return user->isBeforeInBlock(last); });
        if (joins)
          members.push_back(gather);
        return joins;
      });
      if (members.empty())
        continue;
      members.push_back(last);
      merge(members);
    }
  }

  void merge(ArrayRef<GatherLevelsOp> members) {
    GatherLevelsOp last = members.back();
    SmallVector<Value> bases, tails;
    for (GatherLevelsOp member : members) {
      llvm::append_range(bases, member.getBases());
      llvm::append_range(tails, member.getTails());
    }
    OpBuilder builder(last);
    auto merged = GatherLevelsOp::create(builder, last.getLoc(), bases, tails, last.getIndices());
    numMerged += members.size() - 1;
    unsigned next = 0;
    for (GatherLevelsOp member : members) {
      for (Value result : member.getResults())
        result.replaceAllUsesWith(merged.getResult(next++));
      member.erase();
    }
  }
};

} // namespace
} // namespace fresnel
