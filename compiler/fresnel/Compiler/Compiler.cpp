//===- Compiler.cpp - From a program in the dialect to PTX ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Compiler/Compiler.h"
#include "fresnel/Compiler/HeadSlices.h"
#include "fresnel/Compiler/ManifestBuilder.h"
#include "fresnel/Pipelines/Pipelines.h"
#include "fresnel/Target/Ptx.h"
#include "fresnel/Transforms/Passes.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace fresnel {

namespace {
/// Collects the diagnostics of a context as text, with source lines, while it lives.
class DiagnosticText {
public:
  explicit DiagnosticText(MLIRContext &context) : stream(text), handler(sources, &context, stream) {}

  llvm::SourceMgr &getSources() { return sources; }

  /// What was reported so far as an error; `otherwise` if nothing was.
  llvm::Error take(const llvm::Twine &otherwise) {
    llvm::StringRef reported = llvm::StringRef(text).rtrim();
    return llvm::createStringError(reported.empty() ? otherwise.str() : reported.str());
  }

private:
  std::string text;
  llvm::raw_string_ostream stream;
  llvm::SourceMgr sources;
  SourceMgrDiagnosticHandler handler;
};
} // namespace

static llvm::Expected<OwningOpRef<ModuleOp>> parseBuffer(std::unique_ptr<llvm::MemoryBuffer> buffer,
                                                         MLIRContext &context) {
  std::string name = buffer->getBufferIdentifier().str();
  DiagnosticText diagnostics(context);
  diagnostics.getSources().AddNewSourceBuffer(std::move(buffer), llvm::SMLoc());
  OwningOpRef<ModuleOp> module = parseSourceFile<ModuleOp>(diagnostics.getSources(), &context);
  if (!module)
    return diagnostics.take("cannot parse " + name);
  return module;
}

llvm::Expected<OwningOpRef<ModuleOp>> parseProgramFile(const std::string &path, MLIRContext &context) {
  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> buffer = openInputFile(path, &error);
  if (!buffer)
    return llvm::createStringError(error);
  return parseBuffer(std::move(buffer), context);
}

llvm::Expected<OwningOpRef<ModuleOp>> parseProgramText(llvm::StringRef text, const std::string &name,
                                                       MLIRContext &context) {
  return parseBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, name), context);
}

llvm::Error differentiateProgram(ModuleOp module, const std::vector<std::string> &outputs) {
  DiagnosticText diagnostics(*module.getContext());
  PassManager passes(module.getContext());
  DifferentiatePassOptions options;
  options.outputs.append(outputs.begin(), outputs.end());
  passes.addPass(createDifferentiatePass(options));
  if (failed(passes.run(module)))
    return diagnostics.take("the program cannot be differentiated");
  return llvm::Error::success();
}

static std::string printModule(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  if (text.empty() || text.back() != '\n')
    text += "\n";
  return text;
}

namespace {
/// One run of the stages.
class Compilation {
public:
  Compilation(OwningOpRef<ModuleOp> &module, const CompileOptions &options) : module(module), options(options) {}

  llvm::Expected<CompileResult> run();

private:
  llvm::Error runMlirStages(const TargetInfo &target);
  llvm::Error runPasses(Stage stage);
  llvm::Error applyOverride(Stage stage);
  llvm::Error finishMlirStage(Stage stage);
  llvm::Error emitKernels(const TargetInfo &target);
  llvm::Error applyPtxOverride();
  llvm::Error dump(Stage stage, llvm::StringRef kernel, llvm::StringRef text) {
    return options.dumpDir.empty() ? llvm::Error::success() : dumpStage(options.dumpDir, stage, kernel, text);
  }
  bool done(Stage stage) const { return stage >= options.stopAfter; }

  OwningOpRef<ModuleOp> &module;
  const CompileOptions &options;
  /// Text of the program stage, recorded in the manifest.
  std::string program;
  int64_t headSlices = 1;
  CompileResult result;
};
} // namespace

llvm::Error Compilation::runPasses(Stage stage) {
  PassManager pm(module->getContext());
  TargetPipelineOptions pipeline;
  pipeline.target = options.target;
  pipeline.schedule = options.schedule;
  pipeline.gradientSchedule = options.gradientSchedule;
  pipeline.groupQueries = options.groupQueries;
  pipeline.headSlices = headSlices;
  pipeline.dependentLaunch = options.dependentLaunch;
  switch (stage) {
  case Stage::Plan:
    populatePlanPipeline(pm, pipeline, options.recompute);
    break;
  case Stage::Scheduled:
    populateSchedulePipeline(pm, pipeline);
    break;
  case Stage::Tile:
    populateTilePipeline(pm);
    break;
  case Stage::NVVM:
    populateNVVMPipeline(pm);
    break;
  case Stage::LLVM:
    populateLLVMPipeline(pm);
    break;
  case Stage::Program:
  case Stage::PTX:
  case Stage::Manifest:
    return llvm::Error::success();
  }
  DiagnosticText diagnostics(*module->getContext());
  if (failed(pm.run(*module)))
    return diagnostics.take("stage " + stringifyStage(stage) + " failed without a message");
  return llvm::Error::success();
}

llvm::Error Compilation::applyOverride(Stage stage) {
  auto found = options.overrides.find(stage);
  if (found == options.overrides.end())
    return llvm::Error::success();
  auto parsed = parseProgramFile(found->second, *module->getContext());
  if (!parsed)
    return parsed.takeError();
  module = std::move(*parsed);
  // Schedules that came from outside are checked like those that were chosen.
  return stage == Stage::Scheduled ? runPasses(stage) : llvm::Error::success();
}

llvm::Error Compilation::finishMlirStage(Stage stage) {
  if (llvm::Error error = applyOverride(stage))
    return error;
  bool wanted = stage == Stage::Program || stage == options.stopAfter || !options.dumpDir.empty();
  if (!wanted)
    return llvm::Error::success();
  std::string text = printModule(*module);
  if (stage == Stage::Program)
    program = text;
  if (stage == options.stopAfter)
    result.text = text;
  return dump(stage, "", text);
}

llvm::Error Compilation::runMlirStages(const TargetInfo &target) {
  for (Stage stage : {Stage::Program, Stage::Plan, Stage::Scheduled, Stage::Tile, Stage::NVVM, Stage::LLVM}) {
    if (stage > options.startAfter)
      if (llvm::Error error = runPasses(stage))
        return error;
    if (llvm::Error error = finishMlirStage(stage))
      return error;
    if (done(stage))
      break;
    if (stage == Stage::Plan && options.afterPlan)
      options.afterPlan(*module);
  }
  return llvm::Error::success();
}

llvm::Error Compilation::emitKernels(const TargetInfo &target) {
  DiagnosticText diagnostics(*module->getContext());
  for (LLVM::LLVMFuncOp kernel : getKernels(*module)) {
    if (!options.onlyKernel.empty() && kernel.getSymName() != options.onlyKernel) {
      result.bundle.ptx.emplace_back();
      continue;
    }
    llvm::Expected<PtxOutput> output = emitPtx(kernel, target);
    if (!output)
      return diagnostics.take(llvm::toString(output.takeError()));
    if (llvm::Error error = dump(Stage::LLVM, kernel.getSymName(), output->llvmIr))
      return error;
    result.bundle.ptx.push_back(std::move(output->ptx));
  }
  return llvm::Error::success();
}

/// True if the PTX text defines `.entry NAME`.
static bool definesEntry(llvm::StringRef ptx, llvm::StringRef name) {
  for (size_t at = ptx.find(".entry"); at != llvm::StringRef::npos; at = ptx.find(".entry", at + 1)) {
    llvm::StringRef rest = ptx.substr(at + 6).ltrim();
    if (rest.consume_front(name) && (rest.empty() || rest.front() == '(' || isspace(rest.front())))
      return true;
  }
  return false;
}

llvm::Error Compilation::applyPtxOverride() {
  auto found = options.overrides.find(Stage::PTX);
  if (found == options.overrides.end())
    return llvm::Error::success();
  std::string error;
  std::unique_ptr<llvm::MemoryBuffer> buffer = openInputFile(found->second, &error);
  if (!buffer)
    return llvm::createStringError(error);
  for (auto [kernel, ptx] : llvm::zip(getKernels(*module), result.bundle.ptx)) {
    if (!definesEntry(buffer->getBuffer(), kernel.getSymName()))
      continue;
    ptx = buffer->getBuffer().str();
    return llvm::Error::success();
  }
  return llvm::createStringError(found->second + ": defines no .entry that is a kernel of this program");
}

llvm::Expected<CompileResult> Compilation::run() {
  llvm::Expected<TargetInfo> target = findTarget(options.target);
  if (!target)
    return target.takeError();
  if (options.startAfter < Stage::Plan && options.stopAfter >= Stage::Plan) {
    llvm::Expected<int64_t> slices = chooseHeadSlices(*module, options);
    if (!slices)
      return slices.takeError();
    headSlices = *slices;
  }
  if (llvm::Error error = runMlirStages(*target))
    return error;
  if (done(Stage::LLVM))
    return std::move(result);
  if (getKernels(*module).empty())
    return llvm::createStringError(
        "there is no kernel to launch: the program, or the file that stands for a stage, has no "
        "operation to compute");

  if (llvm::Error error = emitKernels(*target))
    return error;
  if (llvm::Error error = applyPtxOverride())
    return error;
  for (auto [kernel, ptx] : llvm::zip(getKernels(*module), result.bundle.ptx)) {
    if (llvm::Error error = dump(Stage::PTX, kernel.getSymName(), ptx))
      return error;
    if (options.stopAfter == Stage::PTX)
      result.text += "// kernel " + kernel.getSymName().str() + "\n" + ptx;
  }
  if (done(Stage::PTX))
    return std::move(result);

  llvm::Expected<rt::Manifest> manifest = buildManifest(*module, *target, options, program, result.bundle.ptx);
  if (!manifest)
    return manifest.takeError();
  result.bundle.manifest = std::move(*manifest);
  result.text = rt::toJson(result.bundle.manifest) + "\n";
  if (llvm::Error error = dump(Stage::Manifest, "", result.text))
    return error;
  return std::move(result);
}

llvm::Expected<CompileResult> runStages(OwningOpRef<ModuleOp> &module, const CompileOptions &options) {
  return Compilation(module, options).run();
}

llvm::Expected<CompiledBundle> compileProgram(ModuleOp module, const CompileOptions &options) {
  OwningOpRef<ModuleOp> copy = module.clone();
  CompileOptions all = options;
  all.stopAfter = Stage::Manifest;
  llvm::Expected<CompileResult> result = runStages(copy, all);
  if (!result)
    return result.takeError();
  return std::move(result->bundle);
}

} // namespace fresnel
