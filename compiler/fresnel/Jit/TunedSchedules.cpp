//===- TunedSchedules.cpp - Compiling with what the tuning database knows
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Jit/TunedSchedules.h"
#include "fresnel/Artifact/Sha256.h"
#include "fresnel/Schedule/Schedule.h"
#include "fresnel/Schedule/Space.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include <cstdlib>

using namespace fresnel;

rt::Expected<rt::Problem> fresnel::getProblem(ProgramOp kernel) {
  std::string text = llvm::formatv("{0}", llvm::json::Value(describeProblem(&kernel.getBody().front().front())));
  rt::Expected<rt::Problem> problem = rt::parseProblem(text);
  if (!problem)
    return problem.status().annotate("kernel '" + kernel.getSymName().str() + "' is no problem");
  return problem;
}

std::string fresnel::hashKernel(const std::string &ptx, const std::string &entry) {
  std::string text;
  llvm::StringRef rest = ptx;
  auto isName = [](char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$'; };
  for (size_t at; (at = rest.find(entry)) != llvm::StringRef::npos; rest = rest.drop_front(at + entry.size())) {
    bool whole =
        (at == 0 || !isName(rest[at - 1])) && (at + entry.size() == rest.size() || !isName(rest[at + entry.size()]) ||
                                               rest.drop_front(at + entry.size()).starts_with("_param"));
    text += rest.take_front(at);
    text += whole ? "kernel" : entry;
  }
  return rt::toHex(rt::sha256(text + rest.str()));
}

//===----------------------------------------------------------------------===//
// The database
//===----------------------------------------------------------------------===//

rt::Expected<TunedSchedules> TunedSchedules::open(const TunedOptions &options, const TargetInfo &target,
                                                  const rt::DeviceClass *gpu, std::vector<std::string> &warnings) {
  TunedSchedules tuned(target);
  std::string path = options.database.empty() ? rt::defaultDatabasePath() : options.database;
  if (options.off || path.empty())
    return tuned;
  if (rt::Status named = rt::checkDatabaseExists(path); !options.database.empty() && !named.ok())
    return named;
  rt::Expected<rt::Database> database = rt::Database::open(path);
  if (!database)
    return database.status();
  warnings.insert(warnings.end(), database->warnings().begin(), database->warnings().end());
  // Of the database at its usual place nothing is expected.
  const char *chosen = std::getenv("FRESNEL_DB");
  if (database->records().empty() && options.device.empty()) {
    if (!options.database.empty() || (chosen && *chosen))
      tuned.text = "tuning database " + path + ": no trials";
    return tuned;
  }
  rt::Status status = tuned.chooseDevice(*database, options, gpu);
  return status.ok() ? rt::Expected<TunedSchedules>(std::move(tuned)) : status;
}

rt::Status TunedSchedules::chooseDevice(const rt::Database &database, const TunedOptions &options,
                                        const rt::DeviceClass *gpu) {
  std::vector<rt::DeviceClass> devices;
  std::string names;
  for (const rt::DeviceClass &device : rt::listDevices(database)) {
    bool named =
        options.device.empty() ? !gpu || *gpu == device : device.name.find(options.device) != std::string::npos;
    if (!named || !runsOn(target, device.compute))
      continue;
    devices.push_back(device);
    names += (names.empty() ? "" : ", ") + device.name;
  }
  if (devices.empty() && !options.device.empty())
    return rt::Status(rt::Code::InvalidArgument, "the tuning database has no trials of a GPU named '" + options.device +
                                                     "' that runs " + target.name.str() +
                                                     "; `fresnel db ls` says whose it has");
  if (devices.size() > 1) {
    text = "tuning database not used: it has trials of " + names + "; name one with --tuned-for";
    return rt::Status();
  }
  if (devices.empty())
    return rt::Status();
  active = true;
  selection = rt::Selection(database, devices[0]);
  text = head = "tuned for " + devices[0].name;
  return rt::Status();
}

//===----------------------------------------------------------------------===//
// Schedules for a compilation
//===----------------------------------------------------------------------===//

/// The schedule, or null if this compiler does not know it.
static ScheduleAttr parseSchedule(const std::string &schedule, mlir::MLIRContext *context) {
  llvm::Expected<llvm::json::Value> json = llvm::json::parse(schedule);
  if (!json || !json->getAsObject()) {
    llvm::consumeError(json.takeError());
    return {};
  }
  llvm::Expected<ScheduleAttr> attribute = scheduleFromJson(*json->getAsObject(), context);
  if (attribute)
    return *attribute;
  llvm::consumeError(attribute.takeError());
  return {};
}

void TunedSchedules::apply(mlir::ModuleOp module) {
  if (!active)
    return;
  size_t counts[3] = {};
  for (auto kernel : module.getOps<ProgramOp>()) {
    mlir::Operation *op = &kernel.getBody().front().front();
    if (!kernel->hasAttr(kKernelAttr) || kernel->hasAttr(kScheduleAttr) || !explainUnsupported(op).empty())
      continue;
    rt::Expected<rt::Problem> problem = getProblem(kernel);
    rt::Choice choice;
    if (problem)
      choice = selection.lookup(*problem, [&](const std::string &schedule) {
        ScheduleAttr attribute = parseSchedule(schedule, module.getContext());
        return attribute && verifySchedule(attribute, op, target).empty();
      });
    if (choice.trial)
      kernel->setAttr(kScheduleAttr, parseSchedule(choice.trial->schedule, module.getContext()));
    ++counts[int(choice.source)];
    choices[kernel.getSymName().str()] = choice;
  }
  text = head + ": " + std::to_string(counts[0]) + " exact, " + std::to_string(counts[1]) +
         " from the nearest length, " + std::to_string(counts[2]) + (counts[2] == 1 ? " kernel" : " kernels") +
         " by the heuristic";
}

static llvm::json::Object describeChoice(const rt::Choice &choice) {
  llvm::json::Object object{{"source", rt::nameOf(choice.source)}};
  if (choice.trial) {
    object["device"] = choice.trial->device.name;
    object["lengths"] = llvm::json::Array(choice.trial->problem.lengths);
    object["us"] = choice.trial->us.median;
    object["of_default"] = choice.trial->us.relative;
  }
  return object;
}

void TunedSchedules::record(CompiledBundle &bundle) const {
  for (size_t i = 0; i < bundle.manifest.kernels.size(); ++i) {
    rt::Kernel &kernel = bundle.manifest.kernels[i];
    auto found = choices.find(kernel.name);
    if (found == choices.end())
      continue;
    llvm::json::Object choice = describeChoice(found->second);
    if (found->second.trial)
      choice["same_code"] = found->second.trial->kernel == hashKernel(bundle.ptx[i], kernel.entry);
    kernel.choice = llvm::formatv("{0}", llvm::json::Value(std::move(choice)));
  }
}

std::string TunedSchedules::describeChoices() const {
  llvm::json::Object all;
  for (const auto &[kernel, choice] : choices) {
    llvm::json::Object object = describeChoice(choice);
    if (choice.trial)
      object["kernel"] = choice.trial->kernel;
    all[kernel] = std::move(object);
  }
  return llvm::formatv("{0}", llvm::json::Value(std::move(all)));
}
