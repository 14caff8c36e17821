//===- Jit.cpp - A method compiled, cached and loaded in one call
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Jit/Jit.h"
#include "fresnel/Artifact/KernelCache.h"
#include "fresnel/Artifact/Sha256.h"
#include "fresnel/Compiler/HeadSlices.h"
#include "fresnel/InitAll.h"
#include "fresnel/Jit/CompilerId.h"
#include "fresnel/Presets/Presets.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>
#include <unistd.h>

using namespace fresnel;
using rt::Code;
using rt::Status;

std::optional<JitMode> fresnel::parseJitMode(llvm::StringRef name) {
  return llvm::StringSwitch<std::optional<JitMode>>(name)
      .Case("never", JitMode::Never)
      .Case("on-miss", JitMode::OnMiss)
      .Case("always", JitMode::Always)
      .Default(std::nullopt);
}

rt::Expected<JitMode> fresnel::getJitMode() {
  const char *text = std::getenv("FRESNEL_JIT");
  if (!text || !*text)
    return JitMode::OnMiss;
  if (std::optional<JitMode> mode = parseJitMode(text))
    return *mode;
  return Status(Code::InvalidArgument,
                "FRESNEL_JIT is '" + std::string(text) + "', but never, on-miss or always is expected");
}

namespace {
/// The search for one bundle.
class Search {
public:
  Search(mlir::ModuleOp program, const JitOptions &options) : program(program), options(options) {}

  Status prepare(const std::string &name, const std::string &parameters, const JitTarget &target);
  rt::Expected<JitBundle> run();

private:
  void warn(const std::string &message) const {
    if (options.warn)
      options.warn(message);
    else
      llvm::errs() << "warning: " << message << "\n";
  }
  Status plan();
  std::optional<rt::Bundle> find() const;
  rt::Expected<rt::Bundle> compile();
  Status explainMiss() const;

  mlir::ModuleOp program;
  const JitOptions &options;
  JitMode mode = JitMode::OnMiss;
  std::optional<rt::KernelCache> cache;
  CompileOptions compileOptions;
  std::optional<TunedSchedules> tuned;
  std::string programText, key;
};
} // namespace

static std::string print(mlir::ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  return text;
}

Status Search::prepare(const std::string &name, const std::string &parameters, const JitTarget &target) {
  rt::Expected<JitMode> chosen = options.mode ? rt::Expected<JitMode>(*options.mode) : getJitMode();
  if (!chosen)
    return chosen.status();
  mode = *chosen;
  const TargetInfo *best = target.name.empty() && target.gpu ? bestTarget(target.gpu->compute) : nullptr;
  if (target.name.empty() && !best)
    return Status(Code::Unsupported, target.gpu
                                         ? target.gpu->name + " has compute capability " +
                                               std::to_string(target.gpu->compute / 10) + "." +
                                               std::to_string(target.gpu->compute % 10) + ", the kernels need 8.0"
                                         : "a target or a GPU to compile for is needed");
  llvm::Expected<TargetInfo> info = findTarget(best ? best->name : target.name);
  if (!info)
    return Status(Code::InvalidArgument, llvm::toString(info.takeError()));
  compileOptions.target = info->name.str();
  compileOptions.schedule = target.schedule;
  compileOptions.gradientSchedule = target.gradientSchedule;
  compileOptions.recompute = target.recompute;
  compileOptions.headSlices = target.headSlices;
  compileOptions.workspaceLimit = target.workspaceLimit;
  compileOptions.groupQueries = target.groupQueries;
  compileOptions.name = name;
  compileOptions.parameters = parameters;
  TunedOptions tunedOptions = options.tuned;
  // What the caller asks for goes before what was measured.
  tunedOptions.off |= !target.schedule.empty() || !target.gradientSchedule.empty();
  std::vector<std::string> warnings;
  rt::Expected<TunedSchedules> schedules =
      TunedSchedules::open(tunedOptions, *info, target.gpu ? &*target.gpu : nullptr, warnings);
  for (const std::string &warning : warnings)
    warn(warning);
  if (!schedules)
    return schedules.status();
  tuned = std::move(*schedules);

  std::string folder = options.cacheFolder.empty() ? rt::KernelCache::defaultFolder() : options.cacheFolder;
  if (folder.empty() && mode != JitMode::Never) {
    warn("there is no place for a kernel cache, HOME is not set; kernels are compiled again in each process");
    return plan();
  }
  rt::Expected<rt::KernelCache> opened = rt::KernelCache::open(folder);
  if (!opened)
    return opened.status();
  cache = std::move(*opened);
  return plan();
}

/// Runs the program up to its plan, takes the schedules from the database, and
/// makes the key of all that decides what the bundle holds.
Status Search::plan() {
  // Once: the plan and the bundle must agree.
  llvm::Expected<int64_t> slices = chooseHeadSlices(program, compileOptions);
  if (!slices)
    return Status(Code::Unsupported, llvm::toString(slices.takeError()));
  compileOptions.headSlices = *slices;
  mlir::OwningOpRef<mlir::ModuleOp> module = program.clone();
  CompileOptions upToPlan = compileOptions;
  upToPlan.stopAfter = Stage::Plan;
  if (llvm::Expected<CompileResult> result = runStages(module, upToPlan); !result)
    return Status(Code::Unsupported, llvm::toString(result.takeError()));
  tuned->apply(*module);
  programText = print(program);
  std::string all = "fresnel.kernels/1\n";
  auto add = [&all](llvm::StringRef text) { all += std::to_string(text.size()) + " " + text.str() + "\n"; };
  add(getCompilerId());
  add(std::to_string(rt::kFormatMajor) + "." + std::to_string(rt::kFormatMinor));
  for (const std::string &text :
       {compileOptions.target, compileOptions.schedule, compileOptions.gradientSchedule, compileOptions.name,
        compileOptions.parameters, programText, tuned->describeChoices()})
    add(text);
  add(print(*module));
  key = rt::toHex(rt::sha256(all));
  return Status();
}

/// The bundle in the cache. One that is damaged is taken away, after a warning.
std::optional<rt::Bundle> Search::find() const {
  rt::Expected<std::optional<std::string>> content = cache->read(key);
  if (!content) {
    warn("kernel cache: " + content.status().message());
    return std::nullopt;
  }
  if (!*content)
    return std::nullopt;
  rt::Expected<rt::Bundle> bundle = rt::parseBundle(cache->pathOf(key), **content);
  bool same = bundle && llvm::StringRef(bundle->manifest.program).rtrim() == llvm::StringRef(programText).rtrim() &&
              bundle->manifest.target.name == compileOptions.target;
  if (same)
    return std::move(*bundle);
  warn("kernel cache: " + (bundle ? "'" + cache->pathOf(key) + "' holds another program" : bundle.status().message()) +
       (mode == JitMode::Never ? "" : "; it is compiled again"));
  if (mode != JitMode::Never)
    cache->remove(key);
  return std::nullopt;
}

rt::Expected<rt::Bundle> Search::compile() {
  compileOptions.afterPlan = [this](mlir::ModuleOp module) { tuned->apply(module); };
  llvm::Expected<CompiledBundle> output = compileProgram(program, compileOptions);
  if (!output)
    return Status(Code::Unsupported, llvm::toString(output.takeError()));
  tuned->record(*output);
  rt::Expected<std::string> content = rt::serializeBundle(compileOptions.name, output->manifest, output->ptx);
  if (!content)
    return content.status();
  if (cache) {
    if (mode == JitMode::Always)
      cache->remove(key);
    if (Status status = cache->publish(key, {*content}); !status.ok())
      warn("kernel cache: " + status.message() + "; the kernels are used, but not kept");
  }
  // What was made goes the way of what is found.
  return rt::parseBundle(compileOptions.name, *content);
}

Status Search::explainMiss() const {
  return Status(Code::JitDisabled,
                "method '" + compileOptions.name + "' for " + compileOptions.target + " is not in the kernel cache '" +
                    cache->folder() +
                    "', and FRESNEL_JIT=never (or the mode `never`) forbids compiling it; parameters " +
                    compileOptions.parameters + "; run it once with on-miss and the same compiler and tuning database");
}

rt::Expected<JitBundle> Search::run() {
  JitBundle result;
  auto finish = [&](rt::Expected<rt::Bundle> bundle, bool found) -> rt::Expected<JitBundle> {
    if (!bundle)
      return bundle.status();
    result.bundle = std::move(*bundle);
    result.found = found;
    result.tuning = tuned->summary();
    std::string path = cache ? cache->pathOf(key) : "";
    if (cache && access(path.c_str(), R_OK) == 0)
      result.path = path;
    return std::move(result);
  };
  if (!cache)
    return finish(compile(), false);
  if (mode != JitMode::Always)
    if (std::optional<rt::Bundle> bundle = find())
      return finish(std::move(*bundle), true);
  if (mode == JitMode::Never)
    return explainMiss();
  rt::CacheLock lock = cache->lock(key);
  // Who held the lock before may have made it.
  if (mode != JitMode::Always)
    if (std::optional<rt::Bundle> bundle = find())
      return finish(std::move(*bundle), true);
  return finish(compile(), false);
}

rt::Expected<JitBundle> fresnel::jitProgram(mlir::ModuleOp program, const std::string &name,
                                            const std::string &parameters, const JitTarget &target,
                                            const JitOptions &options) {
  Search search(program, options);
  if (Status status = search.prepare(name, parameters, target); !status.ok())
    return status;
  return search.run();
}

//===----------------------------------------------------------------------===//
// Methods
//===----------------------------------------------------------------------===//

namespace {
/// The text of a method's program.
struct MethodText {
  std::string text, name = "program", parameters = "{}";
};
} // namespace

static rt::Expected<MethodText> readMethod(const JitRequest &request) {
  const Preset *preset = findPreset(request.method);
  if (!preset && request.method.find("fresnel.program") == std::string::npos) {
    std::string names;
    for (const Preset &known : getPresets())
      names += (names.empty() ? "" : ", ") + known.name;
    return Status(Code::InvalidArgument, "method '" + request.method + "' is neither a preset (" + names +
                                             ") nor the text of a fresnel.program");
  }
  if (!preset) {
    if (!request.parameters.empty())
      return Status(Code::InvalidArgument, "parameter '" + request.parameters.begin()->first +
                                               "' applies to presets; the method is a program's text, edit it");
    return MethodText{request.method};
  }
  llvm::Expected<std::map<std::string, std::string>> resolved = resolveParams(*preset, request.parameters);
  if (!resolved)
    return Status(Code::InvalidArgument, llvm::toString(resolved.takeError()));
  llvm::Expected<std::string> text = instantiate(*preset, request.parameters);
  if (!text)
    return Status(Code::InvalidArgument, llvm::toString(text.takeError()));
  llvm::json::Object parameters;
  for (const auto &[name, value] : *resolved)
    parameters[name] = value;
  return MethodText{*text, preset->name, llvm::formatv("{0}", llvm::json::Value(std::move(parameters)))};
}

rt::Expected<JitBundle> fresnel::jitBundle(const JitRequest &request, const JitOptions &options) {
  rt::Expected<MethodText> method = readMethod(request);
  if (!method)
    return method.status();
  std::unique_ptr<mlir::MLIRContext> context = makeContext();
  llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> module =
      parseProgramText(method->text, method->name + ".mlir", *context);
  if (!module)
    return Status(Code::InvalidArgument, llvm::toString(module.takeError()));
  mlir::OwningOpRef<mlir::ModuleOp> program = std::move(*module);
  if (request.grad)
    if (llvm::Error error = differentiateProgram(*program, request.gradOf))
      return Status(Code::Unsupported, llvm::toString(std::move(error)));
  return jitProgram(*program, method->name, method->parameters, request.target, options);
}

rt::Expected<rt::LoadedPlan> fresnel::jit(std::shared_ptr<rt::Driver> driver, int device, const JitRequest &request,
                                          const JitOptions &options) {
  rt::Expected<rt::DeviceInfo> info = driver->describe(device);
  if (!info)
    return info.status();
  JitRequest here = request;
  here.target.gpu = {info->name, info->computeMajor * 10 + info->computeMinor, info->multiprocessors};
  rt::Expected<JitBundle> bundle = jitBundle(here, options);
  if (!bundle)
    return bundle.status();
  return rt::LoadedPlan::load(std::move(driver), std::move(bundle->bundle), device);
}
