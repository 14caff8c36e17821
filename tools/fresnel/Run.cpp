//===- Run.cpp - fresnel run ------------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Commands.h"
#include "Common.h"
#include "Execute.h"
#include "MethodArguments.h"
#include "Options.h"

#include "fresnel/Artifact/Safetensors.h"
#include "fresnel/Jit/Jit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <iostream>
#include <unistd.h>

namespace fresnel::tool {

namespace {
struct RunArguments : MethodArguments {
  std::string input, output, device, dtype, layout = "bnhd", jit;
  int64_t seed = -1;
  int repeat = 0;
  bool check = false, json = false;
};

/// What was run and what came out, all in logical order.
struct RunResult {
  std::string device;
  std::vector<HostTensor> outputs, expected;
  double seconds = 0;
  /// Mean of the --repeat launches, 0 without them.
  double secondsPerRun = 0;
  /// What the tuning database said, "" if it was not asked.
  std::string tuning;
};
} // namespace

//===----------------------------------------------------------------------===//
// Inputs
//===----------------------------------------------------------------------===//

/// Tensors of a file, in logical order: rank 4 is stored [B, N, H, D], except indices.
static std::vector<HostTensor> readInputs(const std::string &path) {
  rt::Expected<rt::Safetensors> file = rt::readSafetensors(path);
  if (!file)
    fail(file.status().code() == rt::Code::IoError ? ExitUsage : ExitFormat, file.status().message());
  std::vector<HostTensor> inputs;
  for (auto &[name, tensor] : file->tensors) {
    HostTensor host{name, tensor.dtype, tensor.shape, {tensor.data.begin(), tensor.data.end()}};
    inputs.push_back(host.shape.size() == 4 && !rt::isInteger(host.dtype) ? swapHeads(host) : host);
  }
  return inputs;
}

static const HostTensor *find(const std::vector<HostTensor> &tensors, const std::string &name) {
  for (const HostTensor &tensor : tensors)
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}

/// The preset parameters that q, k, v, cu_seqlens and mask imply.
static std::map<std::string, std::string>
deriveParameters(const std::string &method, const std::vector<HostTensor> &inputs, const std::string &dtype) {
  std::map<std::string, std::string> derived;
  for (const char *name : {"q", "k", "v"}) {
    const HostTensor *tensor = find(inputs, name);
    if (!tensor)
      fail(ExitUsage, std::string("the input has no tensor '") + name + "'", "q, k and v are [B, N, H, D]");
    if (tensor->shape.size() != 4)
      fail(ExitUsage, std::string("tensor '") + name + "' has shape " + shapeText(tensor->shape) +
                          ", but [B, N, H, D] is expected");
    if (rt::isInteger(tensor->dtype))
      fail(ExitUsage, std::string("tensor '") + name + "' holds " + dtypeName(tensor->dtype) +
                          ", but f32, bf16 or f16 is expected");
  }
  const std::vector<int64_t> &q = find(inputs, "q")->shape, &k = find(inputs, "k")->shape,
                             &v = find(inputs, "v")->shape;
  derived = {{"batch", std::to_string(q[0])},   {"heads", std::to_string(q[1])},    {"kv_heads", std::to_string(k[1])},
             {"seq_len", std::to_string(q[2])}, {"head_dim", std::to_string(q[3])}, {"dtype", dtype}};
  if (presetHasParameter(method, "kv_len"))
    derived["kv_len"] = std::to_string(k[2]);
  if (presetHasParameter(method, "value_dim"))
    derived["value_dim"] = std::to_string(v[3]);
  const HostTensor *cuts = find(inputs, "cu_seqlens");
  if (cuts && presetHasParameter(method, "documents") && cuts->elements() > 1)
    derived["documents"] = std::to_string(cuts->elements() - 1);
  const HostTensor *mask = find(inputs, "mask");
  if (mask && presetHasParameter(method, "mask_heads") && mask->shape.size() == 4)
    derived["mask_heads"] = std::to_string(mask->shape[1]);
  return derived;
}

/// A logical shape as it is in the file.
static std::string storedShapeText(const HostTensor &tensor, std::vector<int64_t> shape) {
  if (shape.size() != 4 || tensor.shape.size() != 4 || rt::isInteger(tensor.dtype))
    return shapeText(shape);
  std::swap(shape[1], shape[2]);
  return shapeText(shape);
}

/// Brings the inputs to the program's names, shapes and dtypes.
static std::vector<HostTensor> matchInputs(ProgramOp program, const std::vector<HostTensor> &given) {
  std::vector<HostTensor> inputs;
  for (unsigned i = 0; i < program.getNumInputs(); ++i) {
    std::string name = program.getInputName(i).str();
    mlir::RankedTensorType type = program.getInputType(i);
    const HostTensor *tensor = find(given, name);
    if (!tensor)
      fail(ExitUsage, "the input has no tensor '" + name + "', which the program takes");
    std::vector<int64_t> shape(type.getShape().begin(), type.getShape().end());
    rt::DType dtype = dtypeOf(type.getElementType());
    if (dtype != tensor->dtype && (rt::isInteger(dtype) || rt::isInteger(tensor->dtype)))
      fail(ExitUsage,
           "tensor '" + name + "' holds " + dtypeName(tensor->dtype) + ", but the program takes " + dtypeName(dtype));
    if (tensor->shape != shape)
      fail(ExitUsage, "tensor '" + name + "' has shape " + storedShapeText(*tensor, tensor->shape) +
                          ", but the program takes " + storedShapeText(*tensor, shape));
    inputs.push_back(convert(*tensor, dtype));
  }
  return inputs;
}

/// Fails if what goes in and out does not fit the machine: the system may end a process that only tries.
static void checkMemory(const Method &method, ProgramOp program) {
  double bytes = 0;
  auto add = [&bytes](mlir::Type type) {
    double elements = 1;
    for (int64_t size : llvm::cast<mlir::RankedTensorType>(type).getShape())
      elements *= double(size);
    bytes += elements * sizeof(float);
  };
  for (mlir::Type type : program.getBody().getArgumentTypes())
    add(type);
  for (mlir::Type type : program.getReturn().getOperandTypes())
    add(type);
  double memory = double(sysconf(_SC_PHYS_PAGES)) * double(sysconf(_SC_PAGE_SIZE));
  auto gibibytes = [](double value) { return llvm::formatv("{0:F1} GiB", value / (1 << 30)).str(); };
  if (bytes > memory)
    fail(ExitEnvironment,
         "the inputs and results of " + method.name + " take " + gibibytes(bytes) + " in f32, but this machine has " +
             gibibytes(memory) + " of memory",
         "use a smaller shape");
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

/// -1 for the CPU.
static int chooseDevice(const std::string &text) {
  if (text == "cpu")
    return -1;
  if (text.empty())
    return countGpus() > 0 ? 0 : -1;
  unsigned index = 0;
  llvm::StringRef rest = text;
  if (!rest.consume_front("cuda") ||
      (!rest.empty() && (!rest.consume_front(":") || rest.getAsInteger(10, index) || index > INT_MAX)))
    fail(ExitUsage, "unknown device '" + text + "'", "cpu, cuda or cuda:N");
  return int(index);
}

/// Says which options the interpreter has no use for.
static void noteIdleOptions(const RunArguments &arguments) {
  std::string idle;
  auto note = [&idle](bool given, const char *option) {
    if (given)
      idle += (idle.empty() ? "" : ", ") + std::string(option);
  };
  note(!arguments.target.empty(), "--target");
  note(!arguments.schedule.empty(), "--schedule");
  note(!arguments.gradientSchedule.empty(), "--gradient-schedule");
  note(!arguments.recompute.empty(), "--recompute");
  note(arguments.headSlices > 0, "--head-slices");
  note(arguments.workspaceLimit > 0, "--workspace-limit");
  note(arguments.noGroupedQueries, "--no-grouped-queries");
  note(!arguments.tuned.database.empty(), "--db");
  note(!arguments.tuned.device.empty(), "--tuned-for");
  note(!arguments.jit.empty(), "--jit");
  note(arguments.layout != "bnhd", "--layout");
  note(arguments.repeat > 0, "--repeat");
  if (!idle.empty())
    std::cerr << "note: this run is on the CPU, where the interpreter has no use for " << idle << "\n";
}

/// The kernels for the GPU, from the kernel cache if they are there.
static JitBundle findOrCompile(const RunArguments &arguments, int device, Method &method) {
  JitTarget target;
  target.name = arguments.target;
  target.gpu = deviceClassOf(device);
  target.schedule = arguments.schedule;
  target.gradientSchedule = arguments.gradientSchedule;
  target.recompute = arguments.recompute;
  target.headSlices = arguments.headSlices;
  target.workspaceLimit = arguments.workspaceLimit;
  target.groupQueries = !arguments.noGroupedQueries;
  JitOptions options;
  options.tuned = arguments.tuned;
  if (!arguments.jit.empty())
    options.mode = parseJitMode(arguments.jit);
  Progress progress("compiling " + method.name);
  rt::Expected<JitBundle> bundle = jitProgram(*method.module, method.name, method.parameters, target, options);
  if (bundle)
    return std::move(*bundle);
  switch (rt::Status status = bundle.status(); status.code()) {
  case rt::Code::InvalidArgument:
    fail(ExitUsage, status.message());
  case rt::Code::IoError:
    fail(ExitEnvironment, status.message());
  case rt::Code::JitDisabled:
    fail(ExitUnsupported, status.message());
  default:
    fail(ExitUnsupported, status.message(), "--device cpu runs every program");
  }
}

static RunResult execute(const RunArguments &arguments, int device, Method &method, rt::Bundle *bundle,
                         const std::vector<HostTensor> &inputs) {
  ProgramOp program = findMainProgram(*method.module);
  RunResult result;
  result.device = device < 0 ? "cpu" : "cuda:" + std::to_string(device);
  JitBundle compiled;
  if (device >= 0 && !bundle) {
    compiled = findOrCompile(arguments, device, method);
    result.tuning = compiled.tuning;
    bundle = &compiled.bundle;
  }
  {
    Progress progress("running " + method.name + " on " + result.device);
    result.outputs = device < 0 ? runOnCpu(program, inputs)
                                : runOnGpu(*bundle, device, arguments.layout == "bnhd", inputs, arguments.repeat,
                                           result.secondsPerRun);
    result.seconds = progress.seconds();
  }
  if (arguments.check && device >= 0) {
    Progress progress("checking against the oracle");
    result.expected = runOnCpu(program, inputs);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

static mlir::Type typeOfOutput(ReturnOp terminator, llvm::StringRef name) {
  for (auto [index, value] : llvm::enumerate(terminator.getOperands()))
    if (terminator.getName(index) == name)
      return llvm::cast<mlir::RankedTensorType>(value.getType()).getElementType();
  llvm_unreachable("outputs are the program's");
}

static void writeOutputs(const std::string &path, const RunResult &result, ProgramOp program) {
  rt::Safetensors file;
  ReturnOp terminator = program.getReturn();
  for (const HostTensor &output : result.outputs) {
    HostTensor stored = output.shape.size() == 4 && !rt::isInteger(output.dtype) ? swapHeads(output) : output;
    // The CPU computes in f32; what is stored has the program's type.
    if (stored.dtype == rt::DType::F32)
      stored = convert(stored, dtypeOf(typeOfOutput(terminator, output.name)));
    file.tensors[output.name] = {stored.dtype, stored.shape, std::string(stored.data.begin(), stored.data.end())};
  }
  rt::Status status = rt::writeSafetensors(path, file);
  if (!status.ok())
    fail(ExitEnvironment, status.message());
}

/// One row per output; false in `ok` where it is too far away.
static Json compareOutputs(const RunResult &result, rt::DType dtype, bool &ok) {
  Json rows = Json::array();
  for (const HostTensor &want : result.expected) {
    const HostTensor *got = find(result.outputs, want.name);
    Comparison difference = compare(*got, want);
    bool good = rt::isInteger(want.dtype)
                    ? difference.mismatches == 0
                    : difference.relativeL2 <= oracleTolerance(dtype) && difference.nonFinite == 0;
    ok = ok && good;
    rows.push_back({{"output", want.name},
                    {"relative_l2", difference.relativeL2},
                    {"max_abs", difference.maxAbs},
                    {"mismatches", difference.mismatches},
                    {"non_finite", difference.nonFinite},
                    {"ok", good}});
  }
  return rows;
}

static void printSummary(const Method &method, const RunResult &result) {
  std::cout << method.name << " on " << result.device << ", " << formatSeconds(result.seconds) << "\n";
  std::vector<std::vector<std::string>> rows = {{"output", "dtype", "shape", "root mean square", "non-finite"}};
  for (const HostTensor &output : result.outputs) {
    std::string rms = "-", others = "-";
    if (!rt::isInteger(output.dtype)) {
      double sum = 0;
      std::vector<float> values = toFloats(output);
      size_t finite =
          size_t(std::count_if(values.begin(), values.end(), [](float value) { return std::isfinite(value); }));
      for (float value : values)
        sum += std::isfinite(value) ? double(value) * value : 0;
      rms = finite ? std::to_string(std::sqrt(sum / double(finite))) : "-";
      others = std::to_string(values.size() - finite);
    }
    rows.push_back({output.name, dtypeName(output.dtype), shapeText(output.shape), rms, others});
  }
  std::cout << formatTable(rows);
}

static void printChecks(const Json &checks) {
  std::vector<std::vector<std::string>> rows = {{"check", "relative L2", "max abs", "mismatches", "non-finite", ""}};
  auto scientific = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2e", value);
    return std::string(text);
  };
  for (const Json &check : checks)
    rows.push_back({check["output"], scientific(check["relative_l2"]), scientific(check["max_abs"]),
                    std::to_string(check["mismatches"].get<int64_t>()),
                    std::to_string(check["non_finite"].get<int64_t>()), check["ok"] ? "ok" : "FAILED"});
  std::cout << formatTable(rows);
}

static int report(const RunArguments &arguments, const Method &method, ProgramOp program, const RunResult &result,
                  rt::DType dtype) {
  bool ok = true;
  Json checks = compareOutputs(result, dtype, ok);
  if (!arguments.output.empty())
    writeOutputs(arguments.output, result, program);
  if (arguments.json) {
    Json outputs = Json::array();
    for (const HostTensor &output : result.outputs)
      outputs.push_back({{"name", output.name}, {"dtype", dtypeName(output.dtype)}, {"shape", output.shape}});
    printJson("fresnel.run/1", {{"ok", ok},
                                {"method", method.name},
                                {"device", result.device},
                                {"seconds", result.seconds},
                                {"seconds_per_run", result.secondsPerRun},
                                {"tuning", result.tuning},
                                {"outputs", outputs},
                                {"checks", checks}});
    return ok ? ExitOk : ExitCheckFailed;
  }
  printSummary(method, result);
  if (!result.tuning.empty())
    std::cout << result.tuning << "\n";
  if (result.secondsPerRun > 0)
    std::cout << "mean of " << arguments.repeat << " runs: " << formatSeconds(result.secondsPerRun) << "\n";
  if (!checks.empty())
    printChecks(checks);
  if (arguments.check && result.expected.empty())
    std::cout << "--check compares a GPU run with the oracle; this run was the oracle\n";
  if (!arguments.output.empty())
    std::cout << "wrote " << arguments.output << "\n";
  return ok ? ExitOk : ExitCheckFailed;
}

/// The method named on the command line; presets take from the input what it implies.
static Method loadRunMethod(const RunArguments &arguments, int device, const std::vector<HostTensor> &given) {
  std::map<std::string, std::string> derived;
  if (isFile(arguments.method) && !arguments.dtype.empty())
    fail(ExitUsage, "--dtype applies to presets; " + arguments.method + " is a file", "edit the file");
  if (!isFile(arguments.method)) {
    const HostTensor *q = find(given, "q");
    std::string dtype = arguments.dtype;
    // GPUs take 16-bit inputs; the interpreter takes what the file has.
    if (dtype.empty() && q)
      dtype = q->dtype == rt::DType::F32 && device >= 0 ? "bf16" : dtypeName(q->dtype);
    if (!given.empty())
      derived = deriveParameters(arguments.method, given, dtype);
    else if (!dtype.empty())
      derived["dtype"] = dtype;
  }
  return loadMethod(arguments, derived);
}

static int runCommand(const RunArguments &arguments) {
  if (arguments.input.empty() == (arguments.seed < 0))
    fail(ExitUsage, arguments.input.empty() ? "run needs --input FILE or --random SEED"
                                            : "run takes --input FILE or --random SEED, not both");
  int device = chooseDevice(arguments.device);
  if (!arguments.target.empty())
    checkTarget(arguments.target);
  checkWritable(arguments.output);
  checkSpares("--output", arguments.output, {arguments.input, findMethodFile(arguments.method)});
  std::vector<HostTensor> given;
  if (!arguments.input.empty())
    given = readInputs(arguments.input);
  bool fromBundle = isBundle(arguments.method);
  refuseForBundle(arguments, fromBundle && !arguments.dtype.empty(), "--dtype");
  refuseForBundle(arguments, fromBundle && !arguments.jit.empty(), "--jit");
  rt::Bundle bundle = fromBundle ? openCompiled(arguments) : rt::Bundle();
  Method method = fromBundle ? loadProgramText(bundle.manifest.program, bundle.manifest.name)
                             : loadRunMethod(arguments, device, given);
  ProgramOp program = findMainProgram(*method.module);
  if (!program)
    fail(ExitFormat, "the file holds no fresnel.program, or more than one");
  checkMemory(method, program);
  if (device < 0)
    noteIdleOptions(arguments);
  std::vector<HostTensor> inputs =
      given.empty() ? randomInputs(program, uint64_t(arguments.seed)) : matchInputs(program, given);
  RunResult result = execute(arguments, device, method, fromBundle ? &bundle : nullptr, inputs);
  return report(arguments, method, program, result, inputs.empty() ? rt::DType::F32 : inputs.front().dtype);
}

void addRunCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App *command = app.add_subcommand("run", "Run a method or a bundle on the GPU or the CPU");
  addMethodOptions(*command, *arguments,
                   {"a preset, a .mlir file or a .fkb bundle",
                    "also compute the gradients of the inputs; dout is an input then",
                    "GPU to compile for (default: the one that runs)"});
  command->add_option("--input", arguments->input,
                      "safetensors file with q, k, v as [B, N, H, D]; i32 tensors have the program's shape");
  command
      ->add_option("--random", arguments->seed,
                   "normally distributed inputs, and indices that are valid, from this seed")
      ->check(wholeNumber(0));
  command->add_option("--output", arguments->output, "write the results to this safetensors file");
  command->add_option("--device", arguments->device, "cpu, cuda or cuda:N (default: a GPU if there is one)");
  command->add_option("--dtype", arguments->dtype, "bf16, f16 or f32: element type of the program");
  command->add_option("--jit", arguments->jit, "never, on-miss or always compile (default: FRESNEL_JIT, else on-miss)")
      ->check(CLI::IsMember({"never", "on-miss", "always"}));
  command->add_option("--layout", arguments->layout, "order of the GPU's buffers: bnhd (default) or bhnd")
      ->check(CLI::IsMember({"bnhd", "bhnd"}));
  command->add_option("--repeat", arguments->repeat, "GPU: run N more times and report the mean time")
      ->check(wholeNumber(0, INT32_MAX));
  command->add_flag("--check", arguments->check, "compare a GPU run with the CPU oracle");
  command->add_flag("--json", arguments->json, "print one JSON document");
  command->callback([&action, arguments] { action = [arguments] { return runCommand(*arguments); }; });
}

} // namespace fresnel::tool
