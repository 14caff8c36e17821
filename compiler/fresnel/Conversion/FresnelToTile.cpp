//===- FresnelToTile.cpp - Writes the kernel of every outlined program ----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/Passes.h"
#include "fresnel/Conversion/ToTile.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_FRESNELTOTILEPASS
#include "fresnel/Conversion/Passes.h.inc"

llvm::StringRef KernelRequest::getName() const { return ProgramOp(program).getSymName(); }

namespace {

/// Rank-4 inputs and outputs of the whole program keep the caller's strides.
static bool isStrided(RankedTensorType type, bool external) { return external && type.getRank() == 4; }

/// The kernel's views, as the launch that calls it sees its tensors.
static SmallVector<tile::GlobalType> getViews(LaunchOp launch) {
  SmallVector<tile::GlobalType> views;
  for (Value operand : launch.getOperands()) {
    auto type = cast<RankedTensorType>(operand.getType());
    views.push_back(getGlobalType(type, isStrided(type, isa<BlockArgument>(operand))));
  }
  for (Value result : launch.getResults()) {
    auto type = cast<RankedTensorType>(result.getType());
    bool returned = llvm::any_of(result.getUsers(), llvm::IsaPred<ReturnOp>);
    views.push_back(getGlobalType(type, isStrided(type, returned)));
  }
  return views;
}

static LogicalResult lower(const KernelRequest &request, KernelBuilder &builder) {
  return TypeSwitch<Operation *, LogicalResult>(request.op)
      .Case([&](AttendOp op) { return lowerAttend(op, request, builder); })
      .Case([&](PyramidOp op) { return lowerPyramid(op, request, builder); })
      .Case([&](NormOp op) { return lowerNorm(op, request, builder); })
      .Case([&](SelectCascadeOp op) { return lowerSelectCascade(op, request, builder); })
      .Case([&](GatherOp op) { return lowerGather(op, request, builder); })
      .Case([&](ScatterOp op) { return lowerScatter(op, request, builder); })
      .Default([](Operation *op) {
        return op->emitOpError() << "has no GPU kernel yet; run the program with the interpreter (--device cpu)";
      });
}

struct FresnelToTilePass final : impl::FresnelToTilePassBase<FresnelToTilePass> {
  using Base::Base;

  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    SmallVector<LaunchOp> launches;
    getOperation().walk([&](LaunchOp launch) { launches.push_back(launch); });
    for (LaunchOp launch : launches)
      if (failed(lowerLaunch(launch, symbols)))
        return signalPassFailure();
  }

  LogicalResult lowerLaunch(LaunchOp launch, SymbolTable &symbols) {
    auto program = symbols.lookup<ProgramOp>(launch.getCallee());
    if (!program)
      return launch.emitOpError() << "calls `" << launch.getCallee() << "`, which is not an outlined program";
    auto schedule = program->getAttrOfType<ScheduleAttr>(kScheduleAttr);
    if (!schedule)
      return program.emitOpError() << "has no schedule; run fresnel-assign-schedules first";
    Block &body = program.getBody().front();
    if (body.getOperations().size() != 2)
      return program.emitOpError() << "must hold one operation, but holds " << body.getOperations().size() - 1;

    KernelRequest request{program, &body.front(), schedule, getViews(launch)};
    KernelBuilder builder(request.op->getLoc(), program);
    if (failed(lower(request, builder)))
      return failure();
    auto kernel = cast<tile::KernelOp>(program->getPrevNode());
    kernel->setAttr("fresnel.op", builder.getStringAttr(request.op->getName().getStringRef()));
    kernel->setAttr(kScheduleAttr, schedule);
    symbols.erase(program);
    return success();
  }
};

} // namespace
} // namespace fresnel
