//===- main.cpp - The command line of Fresnel -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Commands.h"
#include "Common.h"
#include "Options.h"

#include "llvm/Config/llvm-config.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <iostream>

using namespace fresnel::tool;

static const char *kFooter = "Exit codes: 0 ok, 1 check failed, 2 usage, 3 not supported, 4 environment (no GPU,\n"
                             "unwritable output), 5 damaged or malformed file, 70 internal error, 130 interrupted.\n"
                             "`fresnel COMMAND --help` lists a command's options; all take --json.";

/// Prints a failure for a human or, with --json, for a program.
static int report(const std::string &command, bool json, const Failure &failure) {
  bool named = !command.empty() && command[0] != '-';
  if (json)
    printJson("fresnel." + (named ? command : "main") + "/1",
              {{"ok", false},
               {"exit_code", int(failure.code)},
               {"error", {{"message", failure.message}, {"hint", failure.hint}}}});
  // Diagnostics of the parser already say "file:line:col: error:".
  bool located = failure.message.find(": error: ") != std::string::npos;
  std::cerr << (located ? "" : "error: ") << failure.message << "\n";
  if (!failure.hint.empty())
    std::cerr << "hint: " << failure.hint << "\n";
  return failure.code;
}

static std::vector<std::string> commandNames(CLI::App &app) {
  std::vector<std::string> names;
  for (CLI::App *command : app.get_subcommands([](CLI::App *) { return true; }))
    names.push_back(command->get_name());
  return names;
}

/// Those of them that --help shows.
static std::vector<std::string> shownCommands(CLI::App &app) {
  std::vector<std::string> names = commandNames(app);
  names.erase(std::remove_if(names.begin(), names.end(),
                             [&app](const std::string &name) { return app.get_subcommand(name)->get_group().empty(); }),
              names.end());
  return names;
}

/// Explains a misspelt option by the closest one that the command has.
static Failure explainParseError(CLI::App &app, const CLI::ParseError &error) {
  std::string path = "fresnel", hint = "see fresnel --help";
  // The command that was chosen, and then its own, such as `db` and `ls`.
  for (std::vector<CLI::App *> chosen = app.get_subcommands(); !chosen.empty();
       chosen = chosen.front()->get_subcommands()) {
    CLI::App *command = chosen.front();
    path += " " + command->get_name();
    hint = "see " + path + " --help";
    std::vector<std::string> options;
    for (const CLI::Option *option : command->get_options())
      for (const std::string &name : option->get_lnames())
        options.push_back("--" + name);
    for (std::string extra : command->remaining()) {
      std::string near = extra.rfind("--", 0) == 0 ? closest(extra.substr(0, extra.find('=')), options) : "";
      if (!near.empty())
        hint = "did you mean '" + near + "'?";
    }
  }
  return {ExitUsage, error.what(), hint};
}

/// Refuses a word in the place of a command's name that is none, with the closest one.
static void checkCommand(CLI::App &app, const std::string &group, const std::string &name) {
  std::vector<std::string> names = commandNames(app);
  if (!name.empty() && name[0] != '-' && !std::count(names.begin(), names.end(), name))
    fail(ExitUsage, "unknown command '" + group + name + "'", suggestion(name, shownCommands(app)));
}

int main(int argc, char **argv) {
  // A file that grows beyond `ulimit -f` is then an error of the write, which removes what there is of it.
  std::signal(SIGXFSZ, SIG_IGN);
  CLI::App app("Compiles sparse-attention methods to GPU kernels and runs them.", "fresnel");
  app.set_version_flag("--version", "fresnel " FRESNEL_VERSION " (LLVM " LLVM_VERSION_STRING ")");
  app.require_subcommand(1);
  app.footer(kFooter);
  Action action;
  addCompileCommand(app, action);
  addRunCommand(app, action);
  addBenchCommand(app, action);
  addPresetsCommand(app, action);
  addInspectCommand(app, action);
  addTuneCommand(app, action);
  addTuneWorkerCommand(app, action);
  addDbCommand(app, action);
  addCacheCommand(app, action);
  addDoctorCommand(app, action);

  std::string command = argc > 1 ? argv[1] : "";
  bool json = std::any_of(argv, argv + argc, [](const char *text) { return !std::strcmp(text, "--json"); });
  try {
    try {
      checkCommand(app, "", command);
    } catch (const Failure &failure) {
      return report("main", json, failure);
    }
    // Of a command that has some of its own, such as `db`, these too.
    if (argc > 2 && command[0] != '-' && !commandNames(*app.get_subcommand(command)).empty())
      checkCommand(*app.get_subcommand(command), command + " ", argv[2]);
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError &error) {
      if (error.get_exit_code() == 0)
        return app.exit(error);
      return report(command, json, explainParseError(app, error));
    }
    checkNotEmpty(app);
    int code = action();
    // A full disk must not end as a success.
    if (!std::cout.flush())
      fail(ExitEnvironment, "the results could not be written to stdout");
    return code;
  } catch (const Failure &failure) {
    return report(command, json, failure);
  } catch (const std::bad_alloc &) {
    return report(command, json, {ExitEnvironment, "out of memory", "use a smaller shape"});
  } catch (const std::exception &error) {
    return report(command, json, {ExitInternal, std::string("internal error: ") + error.what(), {}});
  }
}
