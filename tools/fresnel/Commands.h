//===- Commands.h - The sub-commands of fresnel -----------------------------===//
//
// Each function adds one sub-command with its options to `app`. When the user
// chose it, parsing stores what to do in `action`, which returns the exit code
// or throws Failure.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_COMMANDS_H
#define FRESNEL_TOOLS_COMMANDS_H

#include <CLI/CLI.hpp>

#include <functional>

namespace fresnel::tool {

using Action = std::function<int()>;

void addCompileCommand(CLI::App &app, Action &action);
void addRunCommand(CLI::App &app, Action &action);
void addBenchCommand(CLI::App &app, Action &action);
void addPresetsCommand(CLI::App &app, Action &action);
void addInspectCommand(CLI::App &app, Action &action);
void addTuneCommand(CLI::App &app, Action &action);
/// Hidden: one job in a process of its own.
void addTuneWorkerCommand(CLI::App &app, Action &action);
void addDbCommand(CLI::App &app, Action &action);
void addCacheCommand(CLI::App &app, Action &action);
void addDoctorCommand(CLI::App &app, Action &action);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_COMMANDS_H
