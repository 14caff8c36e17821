//===- Compile.cpp - fresnel compile ----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Commands.h"
#include "Common.h"
#include "Memory.h"
#include "MethodArguments.h"
#include "Options.h"
#include "Ptxas.h"

#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Artifact/File.h"
#include "fresnel/Compiler/Compiler.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/ThreadPool.h"

#include <cerrno>
#include <cstring>
#include <iostream>
#include <unistd.h>

namespace fresnel::tool {

namespace {
struct CompileArguments : MethodArguments {
  CompileArguments() { target = "sm_90a"; }

  std::string emit = "bundle", output, dump;
  std::vector<std::string> overrides;
  bool json = false, noPtxas = false, noDependentLaunch = false;
};

/// Resources of the kernels of a bundle; without ptxas `available` is false.
struct Resources {
  bool available = false;
  std::vector<PtxasReport> kernels;
};
} // namespace

static Resources measureResources(const CompiledBundle &bundle, const std::string &target, bool skip) {
  Resources resources;
  std::optional<std::string> ptxas = skip ? std::nullopt : findPtxas();
  if (!ptxas)
    return resources;
  resources.available = true;
  resources.kernels.resize(bundle.ptx.size());
  Progress progress("ptxas");
  llvm::DefaultThreadPool pool;
  for (size_t i = 0; i < bundle.ptx.size(); ++i)
    pool.async([&, i] { resources.kernels[i] = assemble(*ptxas, bundle.ptx[i], target); });
  pool.wait();
  return resources;
}

static Json kernelsJson(const CompiledBundle &bundle, const Resources &resources) {
  Json kernels = Json::array();
  for (size_t i = 0; i < bundle.ptx.size(); ++i) {
    const rt::Kernel &kernel = bundle.manifest.kernels[i];
    Json entry = {{"name", kernel.name},
                  {"op", kernel.op},
                  {"schedule", Json::parse(kernel.schedule, nullptr, false)},
                  {"ptx_bytes", bundle.ptx[i].size()},
                  {"shared_bytes", kernel.sharedBytes}};
    if (kernel.choice != "{}")
      entry["choice"] = Json::parse(kernel.choice, nullptr, false);
    if (resources.available) {
      entry["registers"] = resources.kernels[i].registers;
      entry["spill_bytes"] = resources.kernels[i].spillBytes;
      entry["shared_bytes"] = kernel.sharedBytes + resources.kernels[i].staticShared;
    }
    kernels.push_back(std::move(entry));
  }
  return kernels;
}

static std::string choiceText(const Json &entry) {
  return entry.contains("choice") ? entry["choice"].value("source", "-") : "-";
}

static std::string kernelsTable(const Json &kernels) {
  std::vector<std::vector<std::string>> rows = {
      {"kernel", "op", "schedule", "PTX bytes", "registers", "spills", "shared"}};
  bool tuned = std::any_of(kernels.begin(), kernels.end(), [](const Json &entry) { return entry.contains("choice"); });
  if (tuned)
    rows[0].insert(rows[0].begin() + 3, "from");
  auto number = [](const Json &entry, const char *key) {
    return entry.contains(key) ? std::to_string(entry[key].get<int64_t>()) : std::string("-");
  };
  for (const Json &entry : kernels) {
    rows.push_back({entry["name"], entry["op"], scheduleText(entry["schedule"].dump()), number(entry, "ptx_bytes"),
                    number(entry, "registers"), number(entry, "spill_bytes"), number(entry, "shared_bytes")});
    if (tuned)
      rows.back().insert(rows.back().begin() + 3, choiceText(entry));
  }
  return formatTable(rows);
}

static void checkResources(const CompiledBundle &bundle, const Resources &resources) {
  for (size_t i = 0; i < resources.kernels.size(); ++i) {
    if (!resources.kernels[i].failure.empty())
      fail(ExitEnvironment, resources.kernels[i].failure,
           "--no-ptxas skips this check; FRESNEL_PTXAS names another ptxas");
    if (!resources.kernels[i].error.empty())
      fail(ExitInternal,
           "ptxas refuses kernel '" + bundle.manifest.kernels[i].name + "': " + resources.kernels[i].error,
           "--emit=ptx -o FILE keeps the text; --no-ptxas skips this check");
  }
}

/// Writes a stage's text to `path`, or to stdout if it is empty or "-".
static void writeText(const std::string &path, const std::string &text) {
  if (path.empty() || path == "-") {
    std::cout << text;
    return;
  }
  rt::Status status = rt::writeFileAtomically(path, {text});
  if (!status.ok())
    fail(ExitEnvironment, status.message());
}

static std::map<Stage, std::string> parseOverrides(const std::vector<std::string> &texts) {
  std::map<Stage, std::string> overrides;
  for (const std::string &text : texts) {
    auto [name, path] = splitAssignment("--override-stage", text);
    std::optional<Stage> stage = parseStage(name);
    if (!stage || *stage == Stage::Manifest)
      fail(ExitUsage, "--override-stage has no stage '" + name + "'",
           suggestion(name, {"program", "plan", "scheduled", "tile", "nvvm", "llvm", "ptx"}));
    if (access(path.c_str(), R_OK) != 0)
      fail(ExitUsage, "--override-stage cannot read '" + path + "': " + std::strerror(errno));
    if (llvm::sys::fs::is_directory(path))
      fail(ExitUsage, "--override-stage cannot read '" + path + "': it is a folder");
    overrides[*stage] = path;
  }
  return overrides;
}

/// The files that a result must not replace.
static std::vector<std::string> listFilesRead(const std::string &method,
                                              const std::map<Stage, std::string> &overrides) {
  std::vector<std::string> files = {findMethodFile(method)};
  for (const auto &[stage, path] : overrides)
    files.push_back(path);
  return files;
}

/// An empty `folder` is none.
static void makeDumpFolder(const std::string &folder) {
  if (folder.empty())
    return;
  std::error_code error = llvm::sys::fs::create_directories(folder);
  if (!error && !llvm::sys::fs::is_directory(folder))
    error = std::make_error_code(std::errc::not_a_directory);
  if (error)
    fail(ExitEnvironment, "--dump cannot create the folder '" + folder + "': " + error.message());
}

static int emitStage(const CompileArguments &arguments, const CompileResult &result) {
  if (!arguments.json) {
    writeText(arguments.output, result.text);
    return ExitOk;
  }
  Json document = {{"ok", true}, {"stage", arguments.emit}};
  if (arguments.output.empty() || arguments.output == "-") {
    document["text"] = result.text;
  } else {
    writeText(arguments.output, result.text);
    document["output"] = arguments.output;
  }
  printJson("fresnel.compile/1", document);
  return ExitOk;
}

static int emitBundle(const CompileArguments &arguments, const CompiledBundle &bundle, const TunedSchedules &tuned,
                      double seconds) {
  Resources resources = measureResources(bundle, arguments.target, arguments.noPtxas);
  checkResources(bundle, resources);
  rt::Status status = rt::writeBundle(arguments.output, bundle.manifest, bundle.ptx);
  // Sizes that a manifest cannot hold are no fault of the machine.
  if (!status.ok())
    fail(status.code() == rt::Code::IoError ? ExitEnvironment : ExitUnsupported, status.message());

  Json kernels = kernelsJson(bundle, resources);
  if (arguments.json) {
    Json document = {{"ok", true},
                     {"output", arguments.output},
                     {"target", arguments.target},
                     {"seconds", seconds},
                     {"slices", bundle.manifest.slices},
                     {"workspace_bytes", bundle.manifest.workspaceBytes},
                     {"ptxas", resources.available},
                     {"tuning", tuned.summary()},
                     {"kernels", kernels}};
    if (bundle.manifest.backward)
      document["training_memory"] = trainingMemoryJson(bundle.manifest);
    printJson("fresnel.compile/1", document);
    return ExitOk;
  }
  std::cout << kernelsTable(kernels);
  std::cout << bundle.manifest.name << " for " << arguments.target << ": " << formatCount(bundle.ptx.size(), "kernel")
            << slicesText(bundle.manifest) << ", workspace " << formatBytes(bundle.manifest.workspaceBytes)
            << ", compiled in " << formatSeconds(seconds) << " -> " << arguments.output << "\n";
  if (!tuned.summary().empty())
    std::cout << tuned.summary() << "\n";
  if (bundle.manifest.backward)
    std::cout << trainingMemoryText(bundle.manifest);
  if (!resources.available && !arguments.noPtxas)
    std::cout << "no ptxas found: registers and spills are unknown (fresnel doctor says where it was looked for)\n";
  return ExitOk;
}

static int compileCommand(const CompileArguments &arguments) {
  bool bundle = arguments.emit == "bundle";
  std::optional<Stage> stage = bundle ? Stage::Manifest : parseStage(arguments.emit);
  if (!stage)
    fail(ExitUsage, "--emit has no stage '" + arguments.emit + "'",
         suggestion(arguments.emit,
                    {"bundle", "program", "plan", "scheduled", "tile", "nvvm", "llvm", "ptx", "manifest"}));
  if (bundle && arguments.output.empty())
    fail(ExitUsage, "compile needs -o BUNDLE", "or --emit=ptx (or another stage) to print to stdout");
  if (bundle && arguments.output == "-")
    fail(ExitUsage, "a bundle goes to a file, but -o is '-'", "--emit=ptx (or another stage) goes to stdout");

  CompileOptions options;
  options.target = arguments.target;
  options.schedule = arguments.schedule;
  options.gradientSchedule = arguments.gradientSchedule;
  options.recompute = arguments.recompute;
  options.headSlices = arguments.headSlices;
  options.workspaceLimit = arguments.workspaceLimit;
  options.dependentLaunch = !arguments.noDependentLaunch;
  options.groupQueries = !arguments.noGroupedQueries;
  options.stopAfter = *stage;
  options.dumpDir = arguments.dump;
  options.overrides = parseOverrides(arguments.overrides);
  checkTarget(arguments.target);
  Method method = loadMethod(arguments);
  if (arguments.output != "-")
    checkWritable(arguments.output);
  checkSpares("--output", arguments.output, listFilesRead(arguments.method, options.overrides));
  makeDumpFolder(arguments.dump);
  TunedSchedules tuned = openTuned(arguments.getTuned(), arguments.target);
  options.afterPlan = [&tuned](mlir::ModuleOp module) { tuned.apply(module); };
  Progress progress("compiling " + method.name + " for " + arguments.target);
  CompileResult result = compileMethod(method, options);
  double seconds = progress.seconds();
  tuned.record(result.bundle);
  return bundle ? emitBundle(arguments, result.bundle, tuned, seconds) : emitStage(arguments, result);
}

void addCompileCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<CompileArguments>();
  CLI::App *command = app.add_subcommand("compile", "Compile a method to a bundle of GPU kernels (needs no GPU)");
  addMethodOptions(*command, *arguments,
                   {"a preset (see fresnel presets) or a .mlir file",
                    "add a backward plan: inputs dX for outputs X, results dY for inputs Y",
                    "GPU: sm_80, sm_86, sm_89, sm_90, sm_90a (default), sm_100, sm_120"});
  command->add_option(
      "--emit", arguments->emit,
      "bundle (default), or a stage as text: program, plan, scheduled, tile, nvvm, llvm, ptx, manifest");
  command->add_option("-o,--output", arguments->output, "file to write; a stage goes to stdout without it");
  command->add_option("--dump", arguments->dump, "write every stage to a numbered file in this folder");
  command
      ->add_option("--override-stage", arguments->overrides,
                   "STAGE=FILE: go on with this file instead of the stage's result, repeatable")
      ->allow_extra_args(false);
  command->add_flag("--no-dependent-launch", arguments->noDependentLaunch,
                    "kernels that do not start before the launch in front of them has ended");
  command->add_flag("--no-ptxas", arguments->noPtxas, "do not assemble the kernels to report registers and spills");
  command->add_flag("--json", arguments->json, "print one JSON object (schema fresnel.compile/1)");
  command->callback([&action, arguments] { action = [arguments] { return compileCommand(*arguments); }; });
}

} // namespace fresnel::tool
