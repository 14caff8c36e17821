//===- Inspect.cpp - fresnel inspect ----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Commands.h"
#include "Common.h"
#include "Execute.h"
#include "Memory.h"
#include "Tensors.h"
#include "Tuned.h"
#include "fresnel/Artifact/Bundle.h"

#include <iostream>

namespace fresnel::tool {

rt::Bundle openBundle(const std::string &path) {
  rt::Expected<rt::Bundle> bundle = rt::readBundle(path);
  if (!bundle)
    fail(bundle.status().code() == rt::Code::IoError ? ExitUsage : ExitFormat, bundle.status().message());
  return std::move(*bundle);
}

static std::string dimsText(const std::array<int64_t, 3> &dims) {
  return std::to_string(dims[0]) + "x" + std::to_string(dims[1]) + "x" + std::to_string(dims[2]);
}

/// Exact and nearest rows with the time that was measured; "heuristic" also where no database was asked.
static std::string choiceText(const std::string &choice) {
  Json value = Json::parse(choice, nullptr, false);
  std::string source = value.value("source", "heuristic");
  return value.contains("us") ? source + ", " + formatSeconds(value["us"].get<double>() * 1e-6) : source;
}

static void printPlan(const rt::Plan &plan, const std::vector<rt::Kernel> &kernels) {
  std::vector<std::vector<std::string>> buffers = {{"buffer", "kind", "dtype", "shape", "size", "offset"}};
  static const char *kinds[] = {"input", "output", "temporary", "zeroed"};
  for (const rt::Buffer &buffer : plan.buffers)
    buffers.push_back({buffer.name, buffer.isSaved() ? "saved" : kinds[int(buffer.kind)], rt::nameOf(buffer.dtype),
                       shapeText(buffer.shape), formatBytes(uint64_t(buffer.bytes())),
                       buffer.isInWorkspace() ? std::to_string(buffer.offset)
                       : buffer.isSaved()     ? std::to_string(buffer.savedOffset)
                                              : "-"});
  std::cout << formatTable(buffers) << "workspace " << formatBytes(uint64_t(plan.workspaceBytes)) << "\n\n";
  std::vector<std::vector<std::string>> launches = {
      {"#", "kernel", "op", "grid", "block", "shared", "schedule", "from", "operands"}};
  for (size_t i = 0; i < plan.launches.size(); ++i) {
    const rt::Kernel &kernel = kernels[size_t(plan.launches[i].kernel)];
    std::string operands;
    for (int64_t operand : plan.launches[i].operands)
      operands += (operands.empty() ? "" : " ") + plan.buffers[size_t(operand)].name;
    launches.push_back({std::to_string(i), kernel.name, kernel.op, dimsText(kernel.grid), dimsText(kernel.block),
                        std::to_string(kernel.sharedBytes), scheduleText(kernel.schedule), choiceText(kernel.choice),
                        operands});
  }
  std::cout << formatTable(launches);
}

static void printBundle(const rt::Manifest &manifest) {
  const rt::Target &target = manifest.target;
  std::cout << manifest.name << " for " << target.name << " (PTX ISA " << target.ptxIsa << ", driver of CUDA "
            << target.minDriverCuda / 1000 << "." << target.minDriverCuda % 1000 / 10 << " or later), made by fresnel "
            << manifest.fresnelVersion << ", LLVM " << manifest.llvmVersion << "\nparameters " << manifest.parameters
            << "\n\n";
  printPlan(manifest, manifest.kernels);
  if (!manifest.backward)
    return;
  std::cout << "\nbackward plan\n";
  printPlan(*manifest.backward, manifest.kernels);
  std::cout << "\n" << trainingMemoryText(manifest);
}

static int inspectCommand(const std::string &path, bool json) {
  rt::Bundle bundle = openBundle(path);
  if (json) {
    Json manifest = Json::parse(rt::toJson(bundle.manifest));
    Json document = {{"ok", true}, {"bundle", path}, {"manifest", manifest}};
    if (bundle.manifest.backward)
      document["training_memory"] = trainingMemoryJson(bundle.manifest);
    printJson("fresnel.inspect/1", document);
    return ExitOk;
  }
  printBundle(bundle.manifest);
  return ExitOk;
}

void addInspectCommand(CLI::App &app, Action &action) {
  auto path = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  CLI::App *command = app.add_subcommand("inspect", "Check a bundle and show what is in it");
  command->add_option("BUNDLE", *path, "a .fkb file")->required();
  command->add_flag("--json", *json, "print one JSON document: the whole manifest");
  command->callback([&action, path, json] { action = [path, json] { return inspectCommand(*path, *json); }; });
}

} // namespace fresnel::tool
