//===- TuneSubject.cpp - A method at one size, ready to be tuned ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TuneSubject.h"
#include "Execute.h"

#include "fresnel/Artifact/File.h"
#include "fresnel/Artifact/Safetensors.h"
#include "fresnel/Artifact/Sha256.h"
#include "fresnel/Presets/Presets.h"

#include <iostream>
#include <unistd.h>

namespace fresnel::tool {

/// No multiple of any tile, so that every kernel has tails to get right, and
/// short enough for the oracle.
static constexpr int64_t kCheckedLength = 531;
/// A file's program is its own check up to this many elements of inputs.
static constexpr int64_t kMostCheckedElements = int64_t(1) << 21;

static std::string printProgram(Method &method) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  method.module->print(stream);
  return text;
}

static void writeText(const std::string &path, const std::string &text) {
  rt::Status status = rt::writeFileAtomically(path, {text});
  if (!status.ok())
    fail(ExitEnvironment, status.message());
}

static void store(const std::string &path, const rt::Bundle &bundle) {
  rt::Status status = rt::writeBundle(path, bundle.manifest, bundle.ptx);
  if (!status.ok())
    fail(ExitEnvironment, status.message());
}

static Method load(const TuneRequest &request, const std::vector<std::string> &more) {
  std::vector<std::string> sets = request.sets;
  sets.insert(sets.end(), more.begin(), more.end());
  Method method = loadMethod(request.method, sets);
  if (request.grad)
    differentiate(method, request.gradOf);
  // Left in one plan: a kernel of the gradients is measured behind those that make
  // what it reads, and some of them would be in the forward plan.
  ProgramOp program = findMainProgram(*method.module);
  program->removeAttr(kForwardInputsAttr);
  program->removeAttr(kForwardOutputsAttr);
  return method;
}

static rt::Bundle compilePlan(Method &method, const std::string &target) {
  CompileOptions options;
  options.target = target;
  CompiledBundle bundle = compileMethod(method, options).bundle;
  return {std::move(bundle.manifest), std::move(bundle.ptx)};
}

/// The kernels of the plan that leave something to choose.
static std::vector<TunableKernel> listKernels(const std::string &program, const std::string &target, SpaceSize space,
                                              const rt::DeviceClass &device) {
  Method method = loadProgramText(program, "program");
  CompileOptions options;
  options.target = target;
  options.stopAfter = Stage::Plan;
  compileMethod(method, options);
  llvm::Expected<TargetInfo> info = findTarget(target);
  if (!info)
    fail(ExitUsage, llvm::toString(info.takeError()));
  std::vector<TunableKernel> kernels;
  for (auto kernel : method.module->getOps<ProgramOp>()) {
    if (!kernel->hasAttr(kKernelAttr))
      continue;
    TunableKernel tunable{kernel.getSymName().str(), problemOf(kernel), {}};
    mlir::Operation *op = &kernel.getBody().front().front();
    size_t legal = 0;
    for (const Candidate &candidate : enumerateSchedules(op, *info, device.multiprocessors, space)) {
      legal += candidate.rejected.empty();
      tunable.schedules.push_back({canonicalSchedule(candidate.schedule), candidate.rejected, candidate.boundCycles});
    }
    if (legal > 1)
      kernels.push_back(std::move(tunable));
  }
  return kernels;
}

//===----------------------------------------------------------------------===//
// The oracle
//===----------------------------------------------------------------------===//

/// The method at a length that the oracle can run, or nothing, with a warning.
static std::optional<Method> loadChecked(const TuneRequest &request, std::string &warning) {
  if (isFile(request.method)) {
    Method method = load(request, {});
    ProgramOp program = findMainProgram(*method.module);
    int64_t elements = 0;
    for (unsigned i = 0; i < program.getNumInputs(); ++i)
      elements += program.getInputType(i).getNumElements();
    if (elements <= kMostCheckedElements)
      return method;
    warning = request.method + " is too large for the oracle, and a file's sizes cannot be changed: candidates are " +
              "compared with the default schedule only";
    return std::nullopt;
  }
  std::vector<std::string> small = {"seq_len=" + std::to_string(kCheckedLength)};
  if (presetHasParameter(request.method, "batch"))
    small.push_back("batch=1");
  // Of documents with lengths a few, one of them a single token.
  const PresetParam *documents = findPreset(request.method)->findParam("documents");
  if (documents && documents->type == ParamType::Lengths)
    small.push_back("documents=" + std::to_string(kCheckedLength - 201) + ",1,200");
  // Keys keep their length in proportion, which is that of the queries.
  if (presetHasParameter(request.method, "kv_len"))
    small.push_back("kv_len=0");
  return load(request, small);
}

/// Inputs and expected outputs at the checked length. One file serves all
/// lengths: they have the same checked program.
static std::string writeOracle(Method &method, const std::string &text, const std::string &scratch, double &tolerance) {
  std::string path = scratch + "/oracle." + rt::toHex(rt::sha256(text)).substr(0, 16) + ".safetensors";
  ProgramOp program = findMainProgram(*method.module);
  std::vector<HostTensor> inputs;
  for (unsigned i = 0; i < program.getNumInputs(); ++i) {
    inputs.push_back(randomInput(program, i, 1));
    tolerance = inputs.back().dtype == rt::DType::F16 ? 2e-3 : 1e-2;
  }
  if (access(path.c_str(), F_OK) == 0)
    return path;
  rt::Safetensors file;
  auto add = [&file](const std::string &prefix, const std::vector<HostTensor> &tensors) {
    for (const HostTensor &tensor : tensors)
      file.tensors[prefix + tensor.name] = {tensor.dtype, tensor.shape, {tensor.data.begin(), tensor.data.end()}};
  };
  add("in.", inputs);
  add("out.", runOnCpu(program, inputs));
  rt::Status status = rt::writeSafetensors(path, file);
  if (!status.ok())
    fail(ExitEnvironment, status.message());
  return path;
}

//===----------------------------------------------------------------------===//
// Subjects
//===----------------------------------------------------------------------===//

static std::string idOf(const std::string &text, const std::string &target) {
  return rt::toHex(rt::sha256(text + target)).substr(0, 16);
}

TuneSubject listSubject(const TuneRequest &request, SpaceSize space, const rt::DeviceClass &device,
                        const std::string &scratch) {
  TuneSubject subject;
  subject.request = request;
  Method method = load(request, {});
  std::string text = printProgram(method);
  subject.program = scratch + "/program." + idOf(text, request.target) + ".mlir";
  writeText(subject.program, text);
  subject.kernels = listKernels(text, request.target, space, device);
  return subject;
}

Json prepareRequest(const TuneSubject &subject, const std::string &scratch) {
  const TuneRequest &request = subject.request;
  return {{"type", "prepare"},    {"scratch", scratch},        {"method", request.method}, {"target", request.target},
          {"sets", request.sets}, {"grad_of", request.gradOf}, {"grad", request.grad}};
}

/// Files of the check, with their names in the reply.
static void prepareCheck(const TuneRequest &request, const std::string &id, const std::string &scratch, Json &reply) {
  std::string warning;
  std::optional<Method> checked = loadChecked(request, warning);
  if (!checked) {
    reply["warning"] = warning;
    return;
  }
  std::string text = printProgram(*checked), program = scratch + "/check." + id + ".mlir";
  writeText(program, text);
  double tolerance = 0;
  reply["oracle"] = writeOracle(*checked, text, scratch, tolerance);
  reply["tolerance"] = tolerance;
  reply["check_program"] = program;
  reply["check_plan"] = scratch + "/check." + id + ".fkb";
  store(reply["check_plan"], compilePlan(*checked, request.target));
}

Json prepareJob(const Json &job) {
  TuneRequest request;
  request.method = job.at("method");
  request.target = job.at("target");
  request.sets = job.at("sets").get<std::vector<std::string>>();
  request.gradOf = job.at("grad_of").get<std::vector<std::string>>();
  request.grad = job.at("grad");
  std::string scratch = job.at("scratch");
  try {
    Method method = load(request, {});
    std::string id = idOf(printProgram(method), request.target);
    Json reply = {{"status", "ok"}, {"plan", scratch + "/plan." + id + ".fkb"}};
    store(reply["plan"], compilePlan(method, request.target));
    prepareCheck(request, id, scratch, reply);
    return reply;
  } catch (const Failure &failure) {
    return {{"status", rt::nameOf(rt::TrialStatus::CompileError)},
            {"reason", failure.message},
            {"hint", failure.hint},
            {"exit_code", failure.code}};
  }
}

void takePreparation(TuneSubject &subject, const WorkerReply &reply) {
  const Json &data = reply.data;
  if (reply.status != rt::TrialStatus::Ok)
    fail(ExitCode(data.value("exit_code", int(ExitInternal))), reply.reason, data.value("hint", ""));
  if (data.contains("warning"))
    std::cerr << "warning: " << data["warning"].get<std::string>() << "\n";
  subject.plan = openBundle(data.at("plan"));
  subject.checkProgram = data.value("check_program", "");
  subject.checkPlan = data.value("check_plan", "");
  subject.oracle = data.value("oracle", "");
  subject.tolerance = data.value("tolerance", subject.tolerance);
  subject.prepared = true;
}

} // namespace fresnel::tool
