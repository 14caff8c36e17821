//===- TuneTrace.cpp - What a program met, as requests to the tuner ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TuneTrace.h"

#include "fresnel/Artifact/File.h"
#include "fresnel/Artifact/Sha256.h"
#include "fresnel/Presets/Presets.h"
#include "fresnel/Tuning/Workload.h"

#include <iostream>
#include <set>

namespace fresnel::tool {

static std::string print(Method &method) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  method.module->print(stream);
  return text;
}

/// NAME=VALUE for each of the parameters.
static std::vector<std::string> listSets(const rt::Workload &workload) {
  std::vector<std::string> sets;
  Json parameters = Json::parse(workload.parameters, nullptr, false);
  for (const auto &[name, value] : parameters.items())
    if (value.is_string())
      sets.push_back(name + "=" + value.get<std::string>());
  return sets;
}

/// True if the preset with these parameters is the program that ran: it may come
/// from another version, be a file of the same name, or differentiate another output.
static bool isPresetsProgram(const rt::Workload &workload, const std::vector<std::string> &sets) {
  if (!findPreset(workload.method))
    return false;
  try {
    Method method = loadMethod(workload.method, sets);
    if (workload.grad)
      differentiate(method, {});
    return llvm::StringRef(print(method)).rtrim() == llvm::StringRef(workload.program).rtrim();
  } catch (const Failure &) {
    return false;
  }
}

static TuneRequest makeRequest(const rt::Workload &workload, const std::string &target, const std::string &scratch) {
  TuneRequest request;
  request.target = target;
  request.label = workload.method;
  std::vector<std::string> sets = listSets(workload);
  if (isPresetsProgram(workload, sets)) {
    request.method = workload.method;
    request.sets = sets;
    request.grad = workload.grad;
    for (const std::string &set : sets)
      request.label += " " + set;
    return request;
  }
  request.method = scratch + "/" + rt::toHex(rt::sha256(workload.program)).substr(0, 16) + ".mlir";
  rt::Status status = rt::writeFileAtomically(request.method, {workload.program});
  if (!status.ok())
    fail(ExitEnvironment, status.message());
  return request;
}

std::vector<TuneRequest> readTraceRequests(const std::string &path, const std::string &target,
                                           const rt::DeviceClass &device, const std::string &scratch) {
  std::vector<std::string> warnings;
  rt::Expected<std::vector<rt::Workload>> workloads = rt::readWorkloads(path, warnings);
  if (!workloads)
    fail(ExitUsage, workloads.status().message(), "FRESNEL_TRACE=FILE makes programs write one");
  printWarnings(warnings);
  if (workloads->empty())
    fail(ExitUsage, "'" + path + "' holds no workload");
  std::vector<TuneRequest> requests;
  std::set<std::string> programs, others;
  for (const rt::Workload &workload : *workloads) {
    if (!(workload.device == device) && others.insert(workload.device.name).second)
      std::cerr << "note: '" << path << "' has workloads of " << workload.device.name << "; they are tuned for "
                << device.name << "\n";
    // One method on several GPUs is one to tune here.
    if (programs.insert(workload.program).second)
      requests.push_back(makeRequest(workload, target, scratch));
  }
  return requests;
}

} // namespace fresnel::tool
