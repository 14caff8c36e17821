//===- ManifestBuilder.cpp - From a lowered module to the manifest
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Compiler/ManifestBuilder.h"
#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/Schedule/Cost.h"
#include "fresnel/Schedule/Schedule.h"
#include "fresnel/Tile/Tile.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace fresnel;

llvm::SmallVector<LLVM::LLVMFuncOp> fresnel::getKernels(ModuleOp module) {
  llvm::SmallVector<LLVM::LLVMFuncOp> kernels;
  for (auto function : module.getOps<LLVM::LLVMFuncOp>())
    if (function->hasAttr("fresnel.params"))
      kernels.push_back(function);
  return kernels;
}

static rt::DType getDType(Type type) {
  if (type.isBF16())
    return rt::DType::BF16;
  if (type.isF16())
    return rt::DType::F16;
  if (type.isInteger(8))
    return rt::DType::I8;
  return type.isF32() ? rt::DType::F32 : rt::DType::I32;
}

static rt::Buffer makeBuffer(std::string name, rt::BufferKind kind, Type type) {
  auto tensor = cast<RankedTensorType>(type);
  rt::Buffer buffer;
  buffer.name = std::move(name);
  buffer.kind = kind;
  buffer.dtype = getDType(tensor.getElementType());
  buffer.shape.assign(tensor.getShape().begin(), tensor.getShape().end());
  return buffer;
}

static int64_t getInteger(DictionaryAttr dictionary, StringRef name) {
  auto value = dictionary.getAs<IntegerAttr>(name);
  return value ? value.getInt() : 0;
}

static rt::Param makeParam(DictionaryAttr attributes) {
  rt::Param param;
  StringRef kind = attributes.getAs<StringAttr>("kind").getValue();
  param.kind = kind == "pointer"  ? rt::ParamKind::Pointer
               : kind == "stride" ? rt::ParamKind::Stride
                                  : rt::ParamKind::TensorMap;
  param.operand = getInteger(attributes, "operand");
  param.dim = getInteger(attributes, "dim");
  if (param.kind == rt::ParamKind::TensorMap)
    param.heads = getInteger(attributes, "heads");
  param.rows = getInteger(attributes, "rows");
  param.cols = getInteger(attributes, "cols");
  param.swizzle = getInteger(attributes, "swizzle");
  return param;
}

static rt::Kernel makeKernel(LLVM::LLVMFuncOp function) {
  rt::Kernel kernel;
  kernel.name = kernel.entry = function.getSymName().str();
  if (auto op = function->getAttrOfType<StringAttr>("fresnel.op"))
    kernel.op = op.getValue().str();
  llvm::copy(function->getAttrOfType<DenseI32ArrayAttr>("fresnel.block").asArrayRef(), kernel.block.begin());
  llvm::copy(function->getAttrOfType<DenseI32ArrayAttr>("fresnel.grid").asArrayRef(), kernel.grid.begin());
  kernel.cluster[0] = tile::getCluster(function);
  kernel.sharedBytes = function->getAttrOfType<IntegerAttr>("fresnel.shared_bytes").getInt();
  for (auto param : function->getAttrOfType<ArrayAttr>("fresnel.params").getAsRange<DictionaryAttr>())
    kernel.params.push_back(makeParam(param));
  if (auto schedule = function->getAttrOfType<ScheduleAttr>(kScheduleAttr))
    kernel.schedule = llvm::formatv("{0}", llvm::json::Value(toJson(schedule)));
  if (auto cost = function->getAttrOfType<DictionaryAttr>(kCostAttr))
    kernel.cost = rt::Cost{getInteger(cost, "bytes_read"), getInteger(cost, "bytes_written"), getInteger(cost, "flops"),
                           cost.getAs<BoolAttr>("exact").getValue()};
  kernel.dependentLaunch = function->hasAttr(kDependentLaunchAttr);
  return kernel;
}

/// The two numbers of an attribute that `fresnel-slice-heads` left, or of none.
static rt::Slices readSlices(Attribute attribute) {
  auto counts = dyn_cast_if_present<DenseI64ArrayAttr>(attribute);
  return counts ? rt::Slices{counts[0], counts[1]} : rt::Slices{1, 1};
}

namespace {
/// Numbers the tensors of a program as buffers of its plan.
class PlanReader {
public:
  PlanReader(ProgramOp main, ModuleOp module, rt::Plan &plan) : main(main), module(module), plan(plan) {
    if (auto saved = main->getAttrOfType<ArrayAttr>(kSavedAttr))
      for (auto entry : saved.getAsRange<DictionaryAttr>())
        savedOffsets[entry.getAs<StringAttr>("name").getValue()] = getInteger(entry, "offset");
    if (auto bytes = main->getAttrOfType<IntegerAttr>(kWorkspaceAttr))
      plan.workspaceBytes = bytes.getInt();
    slices = readSlices(main->getAttr(kSlicesAttr));
  }

  llvm::Error read(const llvm::StringMap<int64_t> &kernels) {
    for (auto [index, argument] : llvm::enumerate(main.getBody().getArguments()))
      add(argument, makeBuffer(main.getInputName(index).str(), rt::BufferKind::Input, argument.getType()),
          getInputSlices(index));
    for (auto launch : main.getBody().getOps<LaunchOp>())
      if (llvm::Error error = readLaunch(launch, kernels))
        return error;
    repeatForSlices();
    return llvm::Error::success();
  }

private:
  /// `cuts`: the slices of an argument.
  void add(Value value, rt::Buffer buffer, rt::Slices cuts = {1, 1}) {
    if (auto saved = savedOffsets.find(buffer.name); saved != savedOffsets.end() && !buffer.isInWorkspace())
      buffer.savedOffset = saved->second;
    if (buffer.isArgument())
      cut(buffer, cuts);
    indices[value] = int64_t(plan.buffers.size());
    plan.buffers.push_back(std::move(buffer));
  }

  /// Callers pass the tensor of all slices.
  static void cut(rt::Buffer &buffer, rt::Slices slices) {
    buffer.slices = slices;
    for (size_t dim = 0; dim < slices.size() && dim < buffer.shape.size(); ++dim)
      buffer.shape[dim] *= slices[dim];
  }

  rt::Slices getInputSlices(unsigned index) {
    auto slices = main->getAttrOfType<ArrayAttr>(kInputSlicesAttr);
    return slices ? readSlices(slices[index]) : rt::Slices{1, 1};
  }

  void repeatForSlices() {
    const std::vector<rt::Launch> first = plan.launches;
    for (int64_t slice = 1; slice < rt::countSlices(slices); ++slice)
      for (rt::Launch launch : first) {
        launch.slice = slice;
        plan.launches.push_back(std::move(launch));
      }
  }

  llvm::Error addResult(LaunchOp launch, unsigned index) {
    Value result = launch.getResult(index);
    ReturnOp terminator = main.getReturn();
    llvm::SmallVector<unsigned> uses;
    for (OpOperand &use : result.getUses())
      if (use.getOwner() == terminator)
        uses.push_back(use.getOperandNumber());
    if (uses.size() > 1)
      return llvm::createStringError("results '" + terminator.getName(uses[0]).str() + "' and '" +
                                     terminator.getName(uses[1]).str() + "' are one tensor; return it once");
    if (uses.size() == 1 && isZeroed(launch, index))
      return llvm::createStringError("result '" + terminator.getName(uses[0]).str() +
                                     "' is added to in any order, which needs memory of the workspace; set ordered = "
                                     "true to return it");
    if (uses.size() == 1) {
      add(result, makeBuffer(terminator.getName(uses[0]).str(), rt::BufferKind::Output, result.getType()), slices);
      return llvm::Error::success();
    }
    std::string name = launch.getCallee().str() + "." + std::to_string(index);
    rt::BufferKind kind = isZeroed(launch, index) ? rt::BufferKind::Zeroed : rt::BufferKind::Temporary;
    rt::Buffer buffer = makeBuffer(name, kind, result.getType());
    buffer.offset = (*launch.getOffsets())[index];
    add(result, std::move(buffer));
    return llvm::Error::success();
  }

  /// An array that one kernel has for itself, behind everything else in the workspace.
  int64_t addArray(std::string name, rt::BufferKind kind, rt::DType dtype, int64_t count) {
    int64_t offset = llvm::alignTo(plan.workspaceBytes, plan.workspaceAlign);
    plan.buffers.push_back({std::move(name), kind, dtype, {count}, offset});
    plan.workspaceBytes = llvm::alignTo(offset + 4 * count, plan.workspaceAlign);
    return int64_t(plan.buffers.size()) - 1;
  }

  /// Whether the launch adds to this result rather than to write it.
  bool isZeroed(LaunchOp launch, unsigned index) {
    auto zeroed = module.lookupSymbol(launch.getCallee())->getAttrOfType<DenseI64ArrayAttr>(kZeroedAttr);
    return zeroed && llvm::is_contained(zeroed.asArrayRef(), int64_t(index));
  }

  llvm::Error readLaunch(LaunchOp launch, const llvm::StringMap<int64_t> &kernels) {
    auto kernel = kernels.find(launch.getCallee());
    if (kernel == kernels.end())
      return llvm::createStringError("launch of '" + launch.getCallee().str() + "', which is not a kernel");
    if (!launch.getOffsets())
      return llvm::createStringError("a launch has no workspace offsets; run fresnel-assign-buffers");
    rt::Launch entry;
    entry.kernel = kernel->second;
    for (Value input : launch.getInputs())
      entry.operands.push_back(indices.lookup(input));
    for (unsigned i = 0; i < launch.getNumResults(); ++i) {
      if (llvm::Error error = addResult(launch, i))
        return error;
      entry.operands.push_back(indices.lookup(launch.getResult(i)));
    }
    Operation *function = module.lookupSymbol(launch.getCallee());
    std::string name = launch.getCallee().str();
    if (auto scratch = function->getAttrOfType<IntegerAttr>(kScratchAttr))
      entry.operands.push_back(
          addArray(name + ".scratch", rt::BufferKind::Temporary, rt::DType::F32, scratch.getInt()));
    if (auto counters = function->getAttrOfType<IntegerAttr>(kCountersAttr))
      entry.operands.push_back(addArray(name + (counters.getInt() == 1 ? ".counter" : ".counters"),
                                        rt::BufferKind::Zeroed, rt::DType::I32, counters.getInt()));
    plan.launches.push_back(std::move(entry));
    return llvm::Error::success();
  }

  ProgramOp main;
  ModuleOp module;
  rt::Plan &plan;
  rt::Slices slices{1, 1};
  llvm::StringMap<int64_t> savedOffsets;
  llvm::DenseMap<Value, int64_t> indices;
};
} // namespace

llvm::Error fresnel::readPlans(ModuleOp module, const llvm::StringMap<int64_t> &kernels, rt::Manifest &manifest) {
  ProgramOp main = findMainProgram(module);
  if (!main)
    return llvm::createStringError("the module has no main program, or more than one");
  manifest.slices = readSlices(main->getAttr(kSlicesAttr));
  if (rt::countSlices(manifest.slices) > 1)
    manifest.formatMajor = rt::kFormatMajor;
  if (llvm::Error error = PlanReader(main, module, manifest).read(kernels))
    return error;
  if (ProgramOp backward = findBackwardProgram(module)) {
    if (auto bytes = main->getAttrOfType<IntegerAttr>(kSavedBytesAttr))
      manifest.savedBytes = bytes.getInt() * rt::countSlices(manifest.slices);
    if (llvm::Error error = PlanReader(backward, module, manifest.backward.emplace()).read(kernels))
      return error;
  }
  return llvm::Error::success();
}

llvm::Expected<rt::Manifest> fresnel::buildManifest(ModuleOp module, const TargetInfo &target,
                                                    const CompileOptions &options, const std::string &program,
                                                    llvm::ArrayRef<std::string> ptx) {
  rt::Manifest manifest;
  manifest.name = options.name;
  manifest.fresnelVersion = FRESNEL_VERSION;
  manifest.llvmVersion = LLVM_VERSION_STRING;
  manifest.target = {
      target.name.str(),    llvm::formatv("{0}.{1}", target.ptxVersion / 10, target.ptxVersion % 10).str(),
      target.minDriverCuda, target.computeMajor,
      target.computeMinor,  target.archSpecific};
  manifest.program = program;
  manifest.parameters = options.parameters;
  llvm::StringMap<int64_t> kernels;
  for (auto [function, text] : llvm::zip(getKernels(module), ptx)) {
    kernels[function.getSymName()] = int64_t(manifest.kernels.size());
    manifest.kernels.push_back(makeKernel(function));
    manifest.kernels.back().ptxSize = int64_t(text.size());
  }
  if (llvm::Error error = readPlans(module, kernels, manifest))
    return error;
  return manifest;
}
