//===- TuneCandidate.cpp - Kernels of a plan, cut out for the tuner ---------===//
//
// The runtime takes a plan as data, so a part of it is a matter of its manifest:
// the code is the same, to the byte, as in the whole.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TuneCandidate.h"
#include "Common.h"
#include "Execute.h"
#include "TuneWorker.h"
#include "Tuned.h"

#include "fresnel/Artifact/File.h"
#include "fresnel/Schedule/Schedule.h"

#include <algorithm>
#include <set>

namespace fresnel::tool {

//===----------------------------------------------------------------------===//
// Parts of plans
//===----------------------------------------------------------------------===//

/// The part of `plan` with these launches. `kindOf` says what each buffer becomes.
static rt::Bundle cut(const rt::Bundle &plan, const std::vector<size_t> &launches,
                      const std::function<rt::BufferKind(size_t)> &kindOf) {
  rt::Bundle part;
  part.manifest = plan.manifest;
  part.manifest.buffers.clear();
  part.manifest.kernels.clear();
  part.manifest.launches.clear();
  part.manifest.workspaceBytes = 0;
  std::map<int64_t, int64_t> buffers, kernels;
  auto addBuffer = [&](int64_t index) {
    auto [entry, added] = buffers.emplace(index, int64_t(part.manifest.buffers.size()));
    if (added) {
      rt::Buffer buffer = plan.manifest.buffers[size_t(index)];
      buffer.kind = kindOf(size_t(index));
      if (buffer.isInWorkspace()) {
        buffer.offset = part.manifest.workspaceBytes;
        part.manifest.workspaceBytes += (buffer.bytes() + 255) / 256 * 256;
      }
      part.manifest.buffers.push_back(buffer);
    }
    return entry->second;
  };
  for (size_t index : launches) {
    rt::Launch launch = plan.manifest.launches[index];
    auto [kernel, added] = kernels.emplace(launch.kernel, int64_t(part.manifest.kernels.size()));
    if (added) {
      part.manifest.kernels.push_back(plan.manifest.kernels[size_t(launch.kernel)]);
      part.ptx.push_back(plan.ptx[size_t(launch.kernel)]);
    }
    launch.kernel = kernel->second;
    for (int64_t &operand : launch.operands)
      operand = addBuffer(operand);
    part.manifest.launches.push_back(launch);
  }
  return part;
}

/// For each buffer the launch that writes it, -1 for the plan's inputs. What a
/// launch writes comes behind what it reads, and nothing is written twice.
static std::vector<int> findWriters(const rt::Manifest &manifest) {
  std::vector<int> writers(manifest.buffers.size(), -2);
  for (size_t b = 0; b < manifest.buffers.size(); ++b)
    if (manifest.buffers[b].kind == rt::BufferKind::Input)
      writers[b] = -1;
  for (size_t l = 0; l < manifest.launches.size(); ++l)
    for (int64_t operand : manifest.launches[l].operands)
      if (writers[size_t(operand)] == -2)
        writers[size_t(operand)] = int(l);
  return writers;
}

rt::Bundle cutKernel(const rt::Bundle &plan, size_t launch) {
  std::vector<int> writers = findWriters(plan.manifest);
  return cut(plan, {launch}, [&](size_t buffer) {
    if (plan.manifest.buffers[buffer].kind == rt::BufferKind::Zeroed)
      return rt::BufferKind::Zeroed;
    return writers[buffer] == int(launch) ? rt::BufferKind::Output : rt::BufferKind::Input;
  });
}

std::optional<rt::Bundle> cutPrefix(const rt::Bundle &plan, size_t launch) {
  std::vector<int> writers = findWriters(plan.manifest);
  std::set<size_t> results, needed;
  std::vector<size_t> open;
  auto need = [&](size_t of, bool asResult) {
    for (int64_t operand : plan.manifest.launches[of].operands) {
      int writer = writers[size_t(operand)];
      if (writer < 0 || writer >= int(of))
        continue;
      if (asResult)
        results.insert(size_t(operand));
      if (needed.insert(size_t(writer)).second)
        open.push_back(size_t(writer));
    }
  };
  need(launch, true);
  while (!open.empty()) {
    size_t next = open.back();
    open.pop_back();
    need(next, false);
  }
  if (needed.empty())
    return std::nullopt;
  return cut(plan, {needed.begin(), needed.end()}, [&](size_t buffer) {
    rt::BufferKind kind = plan.manifest.buffers[buffer].kind;
    if (kind == rt::BufferKind::Zeroed || kind == rt::BufferKind::Input)
      return kind;
    return results.count(buffer) ? rt::BufferKind::Output : rt::BufferKind::Temporary;
  });
}

//===----------------------------------------------------------------------===//
// Compiling
//===----------------------------------------------------------------------===//

CompiledBundle compileKernel(const std::string &program, const std::string &target, const std::string &kernel,
                             const std::string &schedule) {
  Method method = loadProgramText(program, "program");
  llvm::Expected<llvm::json::Value> json = llvm::json::parse(schedule);
  if (!json || !json->getAsObject())
    fail(ExitUsage, "the schedule is no JSON object");
  llvm::Expected<ScheduleAttr> attribute = scheduleFromJson(*json->getAsObject(), method.context.get());
  if (!attribute)
    fail(ExitUsage, llvm::toString(attribute.takeError()));
  CompileOptions options;
  options.target = target;
  options.onlyKernel = kernel;
  options.afterPlan = [&](mlir::ModuleOp module) {
    if (auto program = module.lookupSymbol<ProgramOp>(kernel))
      program->setAttr(kScheduleAttr, *attribute);
  };
  return compileMethod(method, options).bundle;
}

static std::string readText(const std::string &path) {
  rt::Expected<std::string> text = rt::readFile(path);
  if (!text)
    fail(ExitInternal, text.status().message());
  return *text;
}

static void store(const std::string &path, const rt::Bundle &bundle) {
  rt::Status status = rt::writeBundle(path, bundle.manifest, bundle.ptx);
  if (!status.ok())
    fail(ExitEnvironment, status.message());
}

/// Compiles a candidate for full and for the checked length; writes both bundles.
Json compileJob(const Json &job) {
  std::string kernel = job.at("kernel"), schedule = job.at("schedule"), target = job.at("target");
  try {
    CompiledBundle full = compileKernel(readText(job.at("program")), target, kernel, schedule);
    auto at = std::find_if(full.manifest.kernels.begin(), full.manifest.kernels.end(),
                           [&kernel](const rt::Kernel &other) { return other.name == kernel; });
    if (at == full.manifest.kernels.end())
      fail(ExitInternal, "the plan has no kernel '" + kernel + "'");
    size_t index = size_t(at - full.manifest.kernels.begin());
    size_t launch = 0;
    while (size_t(full.manifest.launches[launch].kernel) != index)
      ++launch;
    std::string hash = hashKernel(full.ptx[index], full.manifest.kernels[index].entry);
    store(job.at("out"), cutKernel({full.manifest, full.ptx}, launch));
    if (job.value("check_program", "").empty())
      return {{"status", "ok"}, {"kernel", hash}};
    // The other kernels of the checked plan are those of the default.
    CompiledBundle check = compileKernel(readText(job.at("check_program")), target, kernel, schedule);
    rt::Bundle plan = openBundle(job.at("check_default"));
    for (size_t i = 0; i < plan.ptx.size() && i < check.ptx.size(); ++i)
      if (check.ptx[i].empty())
        check.ptx[i] = plan.ptx[i];
    store(job.at("check_out"), {check.manifest, check.ptx});
    return {{"status", "ok"}, {"kernel", hash}};
  } catch (const Failure &failure) {
    return {{"status", rt::nameOf(rt::TrialStatus::CompileError)}, {"reason", failure.message}};
  }
}

} // namespace fresnel::tool
