//===- Bench.cpp - fresnel bench --------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Bench.h"
#include "Commands.h"
#include "Execute.h"
#include "MethodArguments.h"
#include "Options.h"

#include "fresnel/Artifact/File.h"

#include <iostream>

namespace fresnel::tool {

namespace {
struct BenchArguments : MethodArguments {
  std::string html, layout = "bnhd";
  int64_t seed = 1;
  int device = 0, samples = 21;
  bool check = false, json = false, noDependentLaunch = false;
};
} // namespace

static rt::Bundle compileForBench(const BenchArguments &arguments, Method &method, std::string &tuning) {
  CompileOptions options;
  options.name = method.name;
  options.parameters = method.parameters;
  rt::DeviceClass gpu = deviceClassOf(arguments.device);
  options.target = arguments.target.empty() ? targetFor(gpu) : arguments.target;
  checkTarget(options.target);
  options.schedule = arguments.schedule;
  options.gradientSchedule = arguments.gradientSchedule;
  options.recompute = arguments.recompute;
  options.headSlices = arguments.headSlices;
  options.workspaceLimit = arguments.workspaceLimit;
  options.dependentLaunch = !arguments.noDependentLaunch;
  options.groupQueries = !arguments.noGroupedQueries;
  TunedSchedules tuned = openTuned(arguments.getTuned(), options.target, &gpu);
  options.afterPlan = [&tuned](mlir::ModuleOp module) { tuned.apply(module); };
  Progress progress("compiling " + method.name + " for " + options.target);
  llvm::Expected<CompiledBundle> output = compileProgram(*method.module, options);
  if (!output)
    fail(ExitUnsupported, llvm::toString(output.takeError()));
  tuning = tuned.summary();
  return {std::move(output->manifest), std::move(output->ptx)};
}

static std::vector<HostTensor> runOracle(ProgramOp program, const std::vector<HostTensor> &inputs) {
  // The interpreter takes about a minute for what is still allowed here.
  constexpr int64_t kMostPairs = int64_t(1) << 32;
  int64_t pairs = 0;
  for (const HostTensor &input : inputs)
    if (input.shape.size() == 4)
      pairs = std::max(pairs, input.shape[0] * input.shape[1] * input.shape[2] * input.shape[2]);
  if (pairs > kMostPairs)
    fail(ExitUsage,
         "--check compares " + std::to_string(pairs) + " pairs of rows with each other on the CPU, but " +
             std::to_string(kMostPairs) + " is the most",
         "check at a small length, for example --set seq_len=1024");
  Progress progress("computing the oracle's results");
  return runOnCpu(program, inputs);
}

static int benchCommand(const BenchArguments &arguments) {
  bool fromBundle = isBundle(arguments.method);
  refuseForBundle(arguments, fromBundle && arguments.noDependentLaunch, "--no-dependent-launch");
  checkWritable(arguments.html);
  checkSpares("--html", arguments.html, {findMethodFile(arguments.method)});
  rt::Bundle bundle = fromBundle ? openCompiled(arguments) : rt::Bundle();
  Method method = fromBundle ? loadProgramText(bundle.manifest.program, bundle.manifest.name) : loadMethod(arguments);
  std::string tuning;
  if (!fromBundle)
    bundle = compileForBench(arguments, method, tuning);
  ProgramOp program = findMainProgram(*method.module);
  if (!program)
    fail(ExitFormat, "the file holds no fresnel.program, or more than one");
  std::vector<HostTensor> inputs = randomInputs(program, uint64_t(arguments.seed));
  std::vector<HostTensor> expected;
  if (arguments.check)
    expected = runOracle(program, inputs);
  BenchOptions options{arguments.device, arguments.samples, arguments.layout == "bnhd"};
  BenchResult result = measureBench(bundle, options, inputs, expected);

  if (!arguments.html.empty()) {
    rt::Status status = rt::writeFileAtomically(arguments.html, {benchHtml(method.name, result)});
    if (!status.ok())
      fail(ExitEnvironment, status.message());
  }
  if (arguments.json) {
    Json document = benchJson(method.name, result);
    document["parameters"] = Json::parse(bundle.manifest.parameters);
    document["target"] = bundle.manifest.target.name;
    document["tuning"] = tuning;
    printJson("fresnel.bench/1", document);
  } else {
    std::cout << benchText(method.name, result);
    if (!tuning.empty())
      std::cout << tuning << "\n";
    if (!arguments.html.empty())
      std::cout << "wrote " << arguments.html << "\n";
  }
  return result.ok() ? ExitOk : ExitCheckFailed;
}

void addBenchCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App *command = app.add_subcommand("bench", "Check a method or a bundle on the GPU, then time every kernel");
  addMethodOptions(*command, *arguments,
                   {"a preset, a .mlir file or a .fkb bundle", "the gradients of the inputs, too",
                    "GPU to compile for (default: the one that runs)"});
  command->add_flag("--no-dependent-launch", arguments->noDependentLaunch,
                    "compile kernels that do not start before the launch in front of them has ended");
  command->add_option("--device", arguments->device, "number of the GPU (default 0)")->check(wholeNumber(0, INT32_MAX));
  command->add_option("--samples", arguments->samples, "timed rounds (default 21)")->check(wholeNumber(1, 100000));
  command->add_option("--random", arguments->seed, "seed of the normally distributed inputs (default 1)")
      ->check(wholeNumber(0));
  command->add_option("--layout", arguments->layout, "order of the GPU's buffers: bnhd (default) or bhnd")
      ->check(CLI::IsMember({"bnhd", "bhnd"}));
  command->add_flag("--check", arguments->check, "compare with the CPU oracle first; for small sizes");
  command->add_option("--html", arguments->html, "write a page with a roofline plot to this file");
  command->add_flag("--json", arguments->json, "print one JSON document (schema fresnel.bench/1)");
  command->callback([&action, arguments] { action = [arguments] { return benchCommand(*arguments); }; });
}

} // namespace fresnel::tool
