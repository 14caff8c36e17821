//===- FoldSums.cpp - Sums of gradients where these are rounded -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_FOLDSUMSPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

/// What moves with a rounding, in order: statistics of rows that nothing else reads, and the gradient whose f32 tiles
/// would wait else.
using Group = SmallVector<Operation *, 3>;

Group getGroup(RoundTilesOp round) {
  Group group;
  if (auto gradient = round.getTiles().getDefiningOp<AttendGradOp>(); gradient && gradient.getDq().hasOneUse()) {
    auto isOwn = [&](Operation *user) { return user == gradient || user == round; };
    auto stats = gradient.getStats().getDefiningOp<AttendStatsOp>();
    if (stats && llvm::all_of(stats->getUsers(), isOwn))
      group.push_back(stats);
    group.push_back(gradient);
  }
  group.push_back(round);
  return group;
}

/// Whether all that read results of `group` stand behind `place`, or belong to it.
bool canMoveBefore(const Group &group, Operation *place) {
  for (Operation *op : group)
    for (Operation *user : op->getUsers())
      if (!llvm::is_contained(group, user) && user->isBeforeInBlock(place))
        return false;
  return true;
}

/// Makes a chain of one sum.
class Chain {
public:
  explicit Chain(AddOp add) : add(add) {
    for (Value term : add.getTerms()) {
      auto round = term.getDefiningOp<RoundTilesOp>();
      bool fits = round && term.hasOneUse() && !round.getAddend() &&
                  // A tensor that may be either would be taken for statistics.
                  (round.getStats() || term.getType() != RoundTilesOp::getStatsType(round.getTiles().getType()));
      if (fits)
        links.push_back(round);
      else
        addOther(term);
    }
    llvm::sort(links, [](RoundTilesOp a, RoundTilesOp b) { return a->isBeforeInBlock(b); });
  }

  bool fold() {
    settleOrder();
    if (links.empty() || others.size() + links.size() < 2)
      return false;
    OpBuilder builder(getStart(links.front()));
    Value sum = others.empty() ? Value() : others.front();
    if (others.size() > 1)
      sum = AddOp::create(builder, add.getLoc(), others);
    for (RoundTilesOp link : links) {
      if (sum)
        link.getMoreMutable().append(sum);
      sum = link.getRows();
    }
    add.getResult().replaceAllUsesWith(sum);
    add.erase();
    return true;
  }

private:
  void addOther(Value term) {
    others.push_back(term);
    Operation *op = term.getDefiningOp();
    if (op && (!last || last->isBeforeInBlock(op)))
      last = op;
  }

  bool isEarly(RoundTilesOp link) { return last && link->isBeforeInBlock(last); }

  /// Sees to it that all links stand behind the other terms.
  void settleOrder() {
    // What cannot move becomes one of the others, which may put more links in front of them.
    auto isStuck = [&](RoundTilesOp link) {
      return isEarly(link) && (!getPlace() || !canMoveBefore(getGroup(link), getPlace()));
    };
    for (auto *stuck = llvm::find_if(links, isStuck); stuck != links.end(); stuck = llvm::find_if(links, isStuck)) {
      addOther(stuck->getRows());
      links.erase(stuck);
    }
    Operation *place = getPlace();
    for (RoundTilesOp link : links)
      if (isEarly(link))
        for (Operation *op : getGroup(link))
          op->moveBefore(place);
  }

  /// Where early links go, if there is a later one.
  Operation *getPlace() {
    auto *next = llvm::find_if(links, [&](RoundTilesOp link) { return !isEarly(link); });
    return next == links.end() ? nullptr : getStart(*next);
  }

  /// The first operation of a link's group, or the link if one of the other terms stands between them.
  Operation *getStart(RoundTilesOp link) {
    Operation *first = getGroup(link).front();
    return last && !last->isBeforeInBlock(first) ? link.getOperation() : first;
  }

  AddOp add;
  SmallVector<RoundTilesOp> links;
  SmallVector<Value> others;
  /// The last operation that gives one of the others.
  Operation *last = nullptr;
};

struct FoldSumsPass final : impl::FoldSumsPassBase<FoldSumsPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    for (auto add : llvm::make_early_inc_range(main.getBody().getOps<AddOp>()))
      if (Chain(add).fold())
        ++numFolded;
  }
};

} // namespace
} // namespace fresnel
