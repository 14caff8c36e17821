//===- Doctor.cpp - fresnel doctor ------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Commands.h"
#include "Common.h"
#include "Ptxas.h"

#include "fresnel/Runtime/Driver.h"
#include "fresnel/Target/TargetInfo.h"
#include "llvm/Config/llvm-config.h"

#include <iostream>

namespace fresnel::tool {

/// The driver and its GPUs.
static Json describeGpus() {
  rt::Expected<std::shared_ptr<rt::Driver>> driver = rt::Driver::load();
  if (!driver)
    return {{"found", false}, {"reason", driver.status().message()}, {"gpus", Json::array()}};
  Json gpus = Json::array();
  rt::Expected<int> count = (*driver)->countDevices();
  for (int i = 0; count && i < *count; ++i) {
    rt::Expected<rt::DeviceInfo> info = (*driver)->describe(i);
    if (info)
      gpus.push_back({{"index", i},
                      {"name", info->name},
                      {"compute", std::to_string(info->computeMajor) + "." + std::to_string(info->computeMinor)},
                      {"multiprocessors", info->multiprocessors},
                      {"memory_bytes", info->memoryBytes},
                      {"shared_bytes", info->sharedBytes}});
  }
  return {{"found", true}, {"cuda", (*driver)->version()}, {"gpus", gpus}};
}

static Json describeAll() {
  Json targets = Json::array();
  for (const TargetInfo &target : getTargets())
    targets.push_back(target.name.str());
  std::optional<std::string> ptxas = findPtxas();
  Json gpu = describeGpus();
  bool canRun = !gpu["gpus"].empty();
  return {
      {"ok", true},
      {"fresnel", FRESNEL_VERSION},
      {"llvm", LLVM_VERSION_STRING},
      {"targets", targets},
      {"ptxas", ptxas ? Json{{"path", *ptxas}, {"version", ptxasVersion(*ptxas)}} : Json()},
      {"driver", gpu},
      {"works", {{"compile", true}, {"resource_report", ptxas.has_value()}, {"run_cpu", true}, {"run_gpu", canRun}}}};
}

static void print(const Json &all) {
  std::cout << "fresnel " << all["fresnel"].get<std::string>() << ", LLVM " << all["llvm"].get<std::string>()
            << "\ntargets: ";
  for (const Json &target : all["targets"])
    std::cout << target.get<std::string>() << " ";
  std::cout << "\nptxas: ";
  if (all["ptxas"].is_null())
    std::cout << "not found (" << whyNoPtxas() << ")\n";
  else
    std::cout << all["ptxas"]["path"].get<std::string>() << ", " << all["ptxas"]["version"].get<std::string>() << "\n";
  const Json &driver = all["driver"];
  if (!driver["found"])
    std::cout << "driver: " << driver["reason"].get<std::string>() << "\n";
  else
    std::cout << "driver: supports CUDA " << driver["cuda"].get<int>() / 1000 << "."
              << driver["cuda"].get<int>() % 1000 / 10 << ", " << driver["gpus"].size() << " GPU(s)\n";
  for (const Json &gpu : driver["gpus"])
    std::cout << "  cuda:" << gpu["index"] << " " << gpu["name"].get<std::string>() << ", compute capability "
              << gpu["compute"].get<std::string>() << ", " << formatBytes(gpu["memory_bytes"].get<uint64_t>()) << "\n";
  const Json &works = all["works"];
  std::cout << "works: compile yes | registers and spills " << (works["resource_report"] ? "yes" : "no, needs ptxas")
            << " | run on the CPU yes | run on a GPU " << (works["run_gpu"] ? "yes" : "no") << "\n";
}

void addDoctorCommand(CLI::App &app, Action &action) {
  auto json = std::make_shared<bool>(false);
  CLI::App *command = app.add_subcommand("doctor", "Say what was found on this machine and what will work");
  command->add_flag("--json", *json, "print one JSON document");
  command->callback([&action, json] {
    action = [json] {
      if (*json)
        printJson("fresnel.doctor/1", describeAll());
      else
        print(describeAll());
      return int(ExitOk);
    };
  });
}

} // namespace fresnel::tool
