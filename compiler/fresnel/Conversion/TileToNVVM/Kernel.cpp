//===- Kernel.cpp - Kernel signatures, shared-memory layout and roles -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/TileToNVVM/Lowering.h"
#include "fresnel/Target/TargetInfo.h"

using namespace mlir;
using namespace fresnel::tile;

//===----------------------------------------------------------------------===//
// Shared memory
//===----------------------------------------------------------------------===//

static int64_t getBytes(Type type) {
  if (auto barriers = dyn_cast<BarriersType>(type))
    return barriers.getCount() * 8;
  return cast<SharedType>(type).getBytes();
}

static int64_t getAlignment(Type type) {
  auto shared = dyn_cast<SharedType>(type);
  return shared ? shared.getAlignment() : 8;
}

/// Gives every allocation its `offset` attribute and returns the bytes in all.
/// Allocations that name another one share its place.
static FailureOr<int64_t> layoutSharedMemory(KernelOp kernel) {
  SmallVector<AllocOp> allocations;
  kernel.walk([&](AllocOp op) { allocations.push_back(op); });
  // The strictest alignment first, so that no gaps arise.
  llvm::stable_sort(allocations, [](AllocOp a, AllocOp b) {
    return getAlignment(a.getResult().getType()) > getAlignment(b.getResult().getType());
  });
  DenseMap<Value, int64_t> offsets;
  int64_t end = 0;
  Builder builder(kernel.getContext());
  auto place = [&](AllocOp op, int64_t offset) {
    offsets[op.getResult()] = offset;
    op->setAttr("offset", builder.getI32IntegerAttr(offset));
  };
  for (AllocOp op : allocations) {
    if (op.getReuse())
      continue;
    int64_t offset = llvm::alignTo(end, getAlignment(op.getResult().getType()));
    place(op, offset);
    end = offset + getBytes(op.getResult().getType());
  }
  for (AllocOp op : allocations) {
    if (!op.getReuse())
      continue;
    int64_t have = getBytes(op.getReuse().getType()), need = getBytes(op.getResult().getType());
    if (need > have)
      return op.emitOpError() << "needs " << need << " bytes, but the reused allocation has " << have;
    place(op, offsets.lookup(op.getReuse()));
  }
  return end;
}

//===----------------------------------------------------------------------===//
// Signature
//===----------------------------------------------------------------------===//

namespace {
/// The parameters of the llvm.func, in order, with what the runtime must pass.
struct Signature {
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> attributes;
  SmallVector<Attribute> parameters;
};
} // namespace

static void addParameter(Signature &signature, Builder &builder, Type type, ArrayRef<NamedAttribute> attributes,
                         StringRef kind, unsigned operand, ArrayRef<NamedAttribute> details) {
  signature.types.push_back(type);
  signature.attributes.push_back(builder.getDictionaryAttr(attributes));
  SmallVector<NamedAttribute> parameter(details);
  parameter.push_back(builder.getNamedAttr("kind", builder.getStringAttr(kind)));
  parameter.push_back(builder.getNamedAttr("operand", builder.getI64IntegerAttr(operand)));
  signature.parameters.push_back(builder.getDictionaryAttr(parameter));
}

static Signature getSignature(KernelOp kernel) {
  Builder builder(kernel.getContext());
  Signature signature;
  auto named = [&](StringRef name, Attribute value) { return builder.getNamedAttr(name, value); };
  for (auto [index, type] : llvm::enumerate(kernel.getArgumentTypes())) {
    if (auto map = dyn_cast<TensorMapType>(type)) {
      // Without grid_constant the 128 bytes would be copied to local memory.
      auto bytes = LLVM::LLVMArrayType::get(builder.getI8Type(), 128);
      addParameter(signature, builder, LLVM::LLVMPointerType::get(kernel.getContext()),
                   {named("llvm.byval", TypeAttr::get(bytes)), named("llvm.align", builder.getI64IntegerAttr(64)),
                    named("nvvm.grid_constant", builder.getUnitAttr()), named("llvm.noalias", builder.getUnitAttr()),
                    named("llvm.readonly", builder.getUnitAttr())},
                   "tensor_map", index,
                   {named("heads", builder.getI64IntegerAttr(map.getHeads())),
                    named("rows", builder.getI64IntegerAttr(map.getRows())),
                    named("cols", builder.getI64IntegerAttr(map.getCols())),
                    named("swizzle", builder.getI64IntegerAttr(map.getSwizzleBytes()))});
      continue;
    }
    auto view = cast<GlobalType>(type);
    SmallVector<NamedAttribute> pointer{named("llvm.align", builder.getI64IntegerAttr(16))};
    if (!kernel->hasAttr(fresnel::kInPlaceAttr))
      pointer.push_back(named("llvm.noalias", builder.getUnitAttr()));
    addParameter(signature, builder, LLVM::LLVMPointerType::get(kernel.getContext(), kGlobalSpace), pointer, "pointer",
                 index, {});
    if (view.getStrided())
      for (int64_t dim = 0; dim + 1 < view.getRank(); ++dim)
        addParameter(signature, builder, builder.getI64Type(), {}, "stride", index,
                     {named("dim", builder.getI64IntegerAttr(dim))});
  }
  return signature;
}

/// {pointer, strides...} from the parameters, or from the shape where it is contiguous.
static Value buildView(Emitter &emitter, GlobalType view, Type converted, ValueRange parameters, unsigned &next) {
  SmallVector<Value> members{parameters[next++]};
  for (int64_t dim = 0; dim + 1 < view.getRank(); ++dim) {
    if (view.getStrided()) {
      members.push_back(parameters[next++]);
      continue;
    }
    int64_t stride = 1;
    for (int64_t size : view.getShape().drop_front(dim + 1))
      stride *= size;
    members.push_back(emitter.i64(stride));
  }
  return emitter.pack(converted, members);
}

/// Where the kernel lets the next one start, and where it waits for the one before.
static void orderLaunches(KernelOp kernel, LLVM::LLVMFuncOp function, Emitter &emitter) {
  auto write = [&](StringRef text) { emitter.ptx(text, "~{memory}", {}); };
  constexpr StringLiteral kLaunch = "griddepcontrol.launch_dependents;", kWait = "griddepcontrol.wait;";
  auto where = kernel->getAttrOfType<StringAttr>(fresnel::kWaitAttr);
  if (!where)
    return write((kLaunch + "\n\t" + kWait).str());
  if (where.getValue() == fresnel::kWaitBeforeNext)
    return write((kWait + "\n\t" + kLaunch).str());
  write(kLaunch);
  OpBuilder::InsertionGuard guard(emitter);
  emitter.setInsertionPoint(function.getBody().front().getTerminator());
  // The grid ends when its last block has waited; the others leave their places to those that have yet to start.
  Value last;
  for (auto [id, size] : llvm::zip_equal(std::array{Id::BlockX, Id::BlockY, Id::BlockZ}, kernel.getGrid())) {
    if (size == 1)
      continue;
    Value end =
        LLVM::ICmpOp::create(emitter, LLVM::ICmpPredicate::eq, IdOp::create(emitter, id), emitter.i32(size - 1));
    last = last ? Value(LLVM::AndOp::create(emitter, last, end)) : end;
  }
  if (last)
    emitter.setInsertionPointToStart(
        scf::IfOp::create(emitter, TypeRange(), last, /*withElseRegion=*/false).thenBlock());
  write(kWait);
}

FailureOr<LLVM::LLVMFuncOp> fresnel::tile::lowerKernelSignature(KernelOp kernel, const TileTypeConverter &converter) {
  FailureOr<int64_t> sharedBytes = layoutSharedMemory(kernel);
  if (failed(sharedBytes))
    return failure();
  Signature signature = getSignature(kernel);
  Emitter emitter(kernel.getLoc(), kernel);
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(kernel.getContext()), signature.types);
  auto function = LLVM::LLVMFuncOp::create(emitter, kernel.getSymName(), type);
  function.setAllArgAttrs(signature.attributes);
  function->setAttr("nvvm.kernel", emitter.getUnitAttr());
  function->setAttr("nvvm.reqntid", kernel.getBlockAttr());
  // Register reallocation is budgeted for so many blocks per multiprocessor; other kernels may ask for a bound too.
  if (Attribute blocks = kernel->getAttr(kMinBlocksAttr))
    function->setAttr("nvvm.minctasm", blocks);
  else if (!kernel.getBody().getOps<WarpSpecializeOp>().empty())
    function->setAttr("nvvm.minctasm", emitter.getI32IntegerAttr(1));
  if (int64_t cluster = getCluster(kernel); cluster > 1)
    function->setAttr("nvvm.cluster_dim", emitter.getDenseI32ArrayAttr({int32_t(cluster), 1, 1}));
  function->setAttr("fresnel.block", kernel.getBlockAttr());
  function->setAttr("fresnel.grid", kernel.getGridAttr());
  function->setAttr("fresnel.shared_bytes", emitter.getI32IntegerAttr(*sharedBytes));
  function->setAttr("fresnel.params", emitter.getArrayAttr(signature.parameters));
  for (NamedAttribute attribute : kernel->getDiscardableAttrs())
    if (attribute.getName().strref().starts_with("fresnel."))
      function->setAttr(attribute.getName(), attribute.getValue());

  function.getBody().takeBody(kernel.getBody());
  Block &entry = function.getBody().front();
  unsigned old = entry.getNumArguments();
  for (Type parameter : signature.types)
    entry.addArgument(parameter, kernel.getLoc());
  emitter.setInsertionPointToStart(&entry);
  // The next kernel may become resident beside this one, and waits as this one does for
  // the one before: in front of the first access, in every thread, so that a chain of
  // launches completes in order. PTX rather than the intrinsic, which LLVM believes to
  // touch no memory: it would let loads pass.
  if (kernel->hasAttr(kDependentLaunchAttr))
    orderLaunches(kernel, function, emitter);
  unsigned next = 0;
  ValueRange parameters = ValueRange(entry.getArguments()).drop_front(old);
  for (unsigned i = 0; i < old; ++i) {
    BlockArgument argument = entry.getArgument(i);
    Value view = isa<TensorMapType>(argument.getType())
                     ? parameters[next++]
                     : buildView(emitter, cast<GlobalType>(argument.getType()),
                                 converter.convertType(argument.getType()), parameters, next);
    auto bridge = UnrealizedConversionCastOp::create(emitter, argument.getType(), view);
    argument.replaceAllUsesWith(bridge.getResult(0));
  }
  entry.eraseArguments(0, old);
  kernel.erase();
  return function;
}

//===----------------------------------------------------------------------===//
// Roles
//===----------------------------------------------------------------------===//

/// Moves a role's operations into `block`, after setting its register count.
static void moveRole(Region &role, Block *block, IntegerAttr registers, NVVM::SetMaxRegisterAction action) {
  Operation *terminator = block->getTerminator();
  OpBuilder builder(terminator);
  NVVM::SetMaxRegisterOp::create(builder, terminator->getLoc(), registers,
                                 NVVM::SetMaxRegisterActionAttr::get(builder.getContext(), action));
  role.front().getTerminator()->erase();
  block->getOperations().splice(terminator->getIterator(), role.front().getOperations());
}

void fresnel::tile::lowerWarpRoles(LLVM::LLVMFuncOp function) {
  function.walk([](WarpSpecializeOp op) {
    Emitter emitter(op.getLoc(), op);
    Value warpgroup = IdOp::create(emitter, Id::Warpgroup);
    Value isProducer = LLVM::ICmpOp::create(emitter, LLVM::ICmpPredicate::eq, warpgroup, emitter.i32(0));
    auto branch = scf::IfOp::create(emitter, TypeRange(), isProducer, /*withElseRegion=*/true);
    moveRole(op.getProducer(), branch.thenBlock(), op.getProducerRegistersAttr(), NVVM::SetMaxRegisterAction::decrease);
    moveRole(op.getConsumer(), branch.elseBlock(), op.getConsumerRegistersAttr(), NVVM::SetMaxRegisterAction::increase);
    op.erase();
  });
}
