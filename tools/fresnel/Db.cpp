//===- Db.cpp - fresnel db: look at tuning databases and move them ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Commands.h"
#include "Common.h"
#include "Tuned.h"

#include "fresnel/Artifact/File.h"
#include "fresnel/Tuning/Journal.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringRef.h"

#include <cstring>
#include <iostream>
#include <unistd.h>

namespace fresnel::tool {

namespace {
struct DbArguments {
  std::string database, device, problem, output;
  std::vector<std::string> paths;
  bool json = false, dryRun = false;
};
} // namespace

static const char *kSchema = "fresnel.db/1";

static std::string number(double value, int digits = 2) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

/// The device classes that --device names a part of; all without it.
static std::vector<rt::DeviceClass> matchDevices(const rt::Database &database, const std::string &name) {
  std::vector<rt::DeviceClass> devices;
  std::vector<std::string> names;
  for (const rt::DeviceClass &device : rt::listDevices(database)) {
    names.push_back(device.name);
    if (device.name.find(name) != std::string::npos)
      devices.push_back(device);
  }
  if (devices.empty() && !name.empty())
    fail(ExitUsage, "the database has no trials of a device named '" + name + "'", suggestion(name, names));
  return devices;
}

/// The database that --db names, or the user's. A name that is misspelt must not read as a database without trials.
static rt::Database openNamed(const std::string &path) {
  checkDatabaseExists(path);
  return openDatabase(path);
}

static Json trialJson(const rt::Trial &trial) { return Json::parse(rt::toJson({rt::RecordKind::Trial, trial})); }

//===----------------------------------------------------------------------===//
// Looking
//===----------------------------------------------------------------------===//

/// Trials of one problem on one device.
struct Group {
  size_t trials = 0, ok = 0;
};

static int listProblems(const DbArguments &arguments) {
  rt::Database database = openNamed(arguments.database);
  std::vector<std::vector<std::string>> rows = {
      {"problem", "device", "trials", "passed", "schedule chosen", "us", "of default"}};
  Json problems = Json::array();
  for (const rt::DeviceClass &device : matchDevices(database, arguments.device)) {
    rt::Selection selection(database, device);
    std::map<std::string, Group> groups;
    std::map<std::string, rt::Problem> named;
    for (const auto &[text, record] : database.records()) {
      const rt::Trial &trial = record.trial;
      if (record.kind != rt::RecordKind::Trial || !(trial.device == device))
        continue;
      Group &group = groups[trial.problem.key];
      named[trial.problem.key] = trial.problem;
      ++group.trials;
      group.ok += trial.status == rt::TrialStatus::Ok;
    }
    for (const auto &[key, group] : groups) {
      auto chosen = selection.choices().find(key);
      bool has = chosen != selection.choices().end();
      const rt::Trial *trial = has ? &chosen->second : nullptr;
      rows.push_back({rt::describe(named[key]), device.name, std::to_string(group.trials), std::to_string(group.ok),
                      has ? scheduleText(trial->schedule) : "none passed", has ? number(trial->us.median) : "-",
                      has ? number(trial->us.relative, 3) : "-"});
      problems.push_back({{"problem", Json::parse(key)},
                          {"device", device.name},
                          {"trials", group.trials},
                          {"passed", group.ok},
                          {"chosen", has ? trialJson(*trial) : Json()}});
    }
  }
  if (arguments.json)
    printJson(kSchema, {{"ok", true}, {"problems", problems}});
  else if (problems.empty())
    std::cout << "no trials in " << databasePath(arguments.database) << "\n";
  else
    std::cout << formatTable(rows);
  return ExitOk;
}

static int showTrials(const DbArguments &arguments) {
  rt::Database database = openNamed(arguments.database);
  std::vector<rt::DeviceClass> devices = matchDevices(database, arguments.device);
  std::vector<const rt::Trial *> trials;
  for (const auto &[text, record] : database.records())
    if (record.kind == rt::RecordKind::Trial && llvm::is_contained(devices, record.trial.device) &&
        rt::describe(record.trial.problem).find(arguments.problem) != std::string::npos)
      trials.push_back(&record.trial);
  if (arguments.json) {
    Json rows = Json::array();
    for (const rt::Trial *trial : trials)
      rows.push_back(trialJson(*trial));
    printJson(kSchema, {{"ok", true}, {"trials", rows}});
    return ExitOk;
  }
  std::stable_sort(trials.begin(), trials.end(), [](const rt::Trial *a, const rt::Trial *b) {
    auto rank = [](const rt::Trial *t) {
      return std::make_tuple(t->problem.key, t->device, t->status, -int(t->stage), t->us.relative);
    };
    return rank(a) < rank(b);
  });
  std::vector<std::vector<std::string>> rows = {{"schedule", "status", "stage", "us", "of default", "samples", "note"}};
  const rt::Trial *previous = nullptr;
  auto flush = [&] {
    if (previous)
      std::cout << rt::describe(previous->problem) << " on " << previous->device.name << "\n" << formatTable(rows);
    rows.resize(1);
  };
  for (const rt::Trial *trial : trials) {
    if (previous && (previous->problem.key != trial->problem.key || !(previous->device == trial->device))) {
      flush();
      std::cout << "\n";
    }
    previous = trial;
    bool ok = trial->status == rt::TrialStatus::Ok;
    rows.push_back({scheduleText(trial->schedule), rt::nameOf(trial->status), rt::nameOf(trial->stage),
                    ok ? number(trial->us.median) : "-", ok ? number(trial->us.relative, 3) : "-",
                    ok ? std::to_string(trial->us.count) : "-", trial->reason});
  }
  flush();
  if (!previous)
    std::cout << "no trials match\n";
  return ExitOk;
}

//===----------------------------------------------------------------------===//
// Moving
//===----------------------------------------------------------------------===//

static std::string unwrapPath(rt::Expected<std::string> path) {
  if (!path)
    fail(ExitEnvironment, path.status().message());
  return *path;
}

static int mergeDatabases(const DbArguments &arguments) {
  std::string destination = databaseFolder(arguments.database, "db merge");
  rt::Database known = openDatabase(destination), added;
  for (const std::string &path : arguments.paths)
    added.merge(openNamed(path));
  std::map<std::string, rt::Record> fresh;
  for (const auto &entry : added.records())
    if (!known.records().count(entry.first))
      fresh.insert(entry);
  std::string pack = fresh.empty() ? "" : unwrapPath(rt::publishPack(destination, fresh));
  if (arguments.json)
    printJson(kSchema, {{"ok", true}, {"added", fresh.size()}, {"pack", pack}});
  else if (fresh.empty())
    std::cout << "nothing new\n";
  else
    std::cout << formatCount(fresh.size(), "record") << " added -> " << pack << "\n";
  return ExitOk;
}

static int packDatabase(const DbArguments &arguments) {
  std::string path = arguments.output,
              folder = path.empty() ? databaseFolder(arguments.database, "db pack without -o") : "";
  rt::Database database = openNamed(arguments.database);
  if (path.empty()) {
    path = unwrapPath(rt::publishPack(folder, database.records()));
  } else if (rt::Status status = rt::writeFileAtomically(path, {rt::makePack(database.records())}); !status.ok()) {
    fail(ExitEnvironment, status.message());
  }
  if (arguments.json)
    printJson(kSchema, {{"ok", true}, {"records", database.records().size()}, {"pack", path}});
  else
    std::cout << formatCount(database.records().size(), "record") << " -> " << path << "\n";
  return ExitOk;
}

//===----------------------------------------------------------------------===//
// Comparing
//===----------------------------------------------------------------------===//

static int diffDatabases(const DbArguments &arguments) {
  rt::Database a = openNamed(arguments.paths[0]), b = openNamed(arguments.paths[1]), both = a;
  both.merge(b);
  std::vector<std::vector<std::string>> rows = {{"problem", "device", arguments.paths[0], arguments.paths[1]}};
  Json differences = Json::array();
  for (const rt::DeviceClass &device : matchDevices(both, arguments.device)) {
    rt::Selection left(a, device), right(b, device), all(both, device);
    for (const auto &[key, trial] : all.choices()) {
      auto find = [&key = key](const rt::Selection &selection) {
        auto found = selection.choices().find(key);
        return found == selection.choices().end() ? nullptr : &found->second;
      };
      const rt::Trial *one = find(left), *other = find(right);
      if (one && other && one->schedule == other->schedule && one->kernel == other->kernel)
        continue;
      auto text = [](const rt::Trial *chosen) {
        return chosen ? scheduleText(chosen->schedule) + " " + chosen->kernel.substr(0, 12) : "nothing";
      };
      auto json = [](const rt::Trial *chosen) {
        return chosen ? Json{{"schedule", Json::parse(chosen->schedule)}, {"kernel", chosen->kernel}} : Json();
      };
      rows.push_back({rt::describe(trial.problem), device.name, text(one), text(other)});
      differences.push_back(
          {{"problem", Json::parse(key)}, {"device", device.name}, {"left", json(one)}, {"right", json(other)}});
    }
  }
  if (arguments.json)
    printJson(kSchema, {{"ok", differences.empty()}, {"differences", differences}});
  else
    std::cout << (differences.empty() ? "the same choices\n" : formatTable(rows));
  return differences.empty() ? ExitOk : ExitCheckFailed;
}

static int printDigest(const DbArguments &arguments) {
  rt::Database database = openNamed(arguments.database);
  std::vector<std::vector<std::string>> rows = {{"device", "problems", "digest"}};
  Json digests = Json::array();
  for (const rt::DeviceClass &device : matchDevices(database, arguments.device)) {
    rt::Selection selection(database, device);
    rt::SelectionDigest digest;
    digest.add(selection);
    rows.push_back({device.name, std::to_string(selection.choices().size()), digest.finish()});
    digests.push_back({{"device", device.name}, {"problems", selection.choices().size()}, {"digest", digest.finish()}});
  }
  if (arguments.json)
    printJson(kSchema, {{"ok", true}, {"digests", digests}});
  else
    std::cout << (digests.empty() ? "no trials in " + databasePath(arguments.database) + "\n" : formatTable(rows));
  return ExitOk;
}

//===----------------------------------------------------------------------===//
// Pruning
//===----------------------------------------------------------------------===//

/// What a database needs to keep its choices and its history of failures: of
/// each problem, device, kernel, schedule and stage the trial with most samples.
static std::map<std::string, rt::Record> keepBest(const rt::Database &database) {
  using Key = std::tuple<std::string, rt::DeviceClass, std::string, std::string, rt::TrialStage, bool>;
  std::map<Key, std::pair<int64_t, std::string>> best;
  for (const auto &[text, record] : database.records()) {
    const rt::Trial &trial = record.trial;
    if (record.kind != rt::RecordKind::Trial)
      continue;
    Key key{trial.problem.key, trial.device, trial.kernel,
            trial.schedule,    trial.stage,  trial.status == rt::TrialStatus::Ok};
    auto [entry, inserted] = best.emplace(key, std::pair(trial.us.count, text));
    if (!inserted && trial.us.count > entry->second.first)
      entry->second = {trial.us.count, text};
  }
  std::map<std::string, rt::Record> kept;
  for (const auto &[key, value] : best)
    kept.insert(*database.records().find(value.second));
  return kept;
}

static int pruneDatabase(const DbArguments &arguments) {
  std::string folder = databaseFolder(arguments.database, "db prune");
  rt::Database database = openNamed(arguments.database);
  std::map<std::string, rt::Record> kept = keepBest(database);
  std::string pack;
  size_t removed = 0, live = 0;
  if (!arguments.dryRun && !database.files().empty())
    pack = unwrapPath(rt::publishPack(folder, kept));
  // The pack exists now: a kill from here on leaves records twice, which is harmless.
  size_t unread = 0;
  for (const std::string &path : database.files()) {
    // Lines of a newer schema are someone's data; a torn last line is nobody's.
    bool lost = llvm::any_of(database.warnings(), [&path](const std::string &warning) {
      return llvm::StringRef(warning).starts_with(path) && !llvm::StringRef(warning).contains("is torn");
    });
    unread += lost;
    bool journal = path.find("/journal/") != std::string::npos;
    if (path == pack || lost)
      continue;
    if (journal && rt::isJournalLive(path)) {
      ++live;
      continue;
    }
    ++removed;
    if (!arguments.dryRun && unlink(path.c_str()) != 0 && errno != ENOENT)
      fail(ExitEnvironment, "cannot remove '" + path + "': " + std::strerror(errno));
  }
  if (arguments.json) {
    printJson(kSchema, {{"ok", true},
                        {"kept", kept.size()},
                        {"dropped", database.records().size() - kept.size()},
                        {"files_removed", removed},
                        {"files_live", live},
                        {"files_unread", unread},
                        {"pack", pack},
                        {"dry_run", arguments.dryRun}});
    return ExitOk;
  }
  std::cout << (arguments.dryRun ? "would keep " : "kept ") << formatCount(kept.size(), "record") << ", drop "
            << database.records().size() - kept.size() << ", remove " << formatCount(removed, "file");
  if (live)
    std::cout << "; " << formatCount(live, "journal") << " still being written";
  if (unread)
    std::cout << "; " << formatCount(unread, "file") << " with lines that this version cannot read stay";
  std::cout << (pack.empty() ? "" : " -> " + pack) << "\n";
  return ExitOk;
}

//===----------------------------------------------------------------------===//
// Command line
//===----------------------------------------------------------------------===//

void addDbCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<DbArguments>();
  CLI::App *db = app.add_subcommand("db", "Look at tuning databases and move them");
  db->require_subcommand(1);
  auto add = [&action, arguments, db](const char *name, const char *help, int (*run)(const DbArguments &)) {
    CLI::App *command = db->add_subcommand(name, help);
    command->add_flag("--json", arguments->json, "print one JSON document (schema fresnel.db/1)");
    command->callback([&action, arguments, run] { action = [arguments, run] { return run(*arguments); }; });
    return command;
  };
  auto addDatabase = [arguments](CLI::App *command) {
    command->add_option("--db", arguments->database, "a database's folder, a pack or a journal (default: the user's)");
    return command;
  };
  auto addDevice = [arguments](CLI::App *command) {
    command->add_option("--device", arguments->device, "only devices whose name contains this");
    return command;
  };
  addDevice(addDatabase(add("ls", "List problems, and the schedule chosen for each", listProblems)));
  CLI::App *show = addDevice(addDatabase(add("show", "Show every trial, failed ones with their reason", showTrials)));
  show->add_option("PROBLEM", arguments->problem, "only problems whose description (see ls) contains this");
  CLI::App *merge = addDatabase(add("merge", "Add the records of other databases", mergeDatabases));
  merge->add_option("SOURCE", arguments->paths, "folders, packs or journals")->required();
  CLI::App *pack = addDatabase(add("pack", "Write all records to one immutable file", packDatabase));
  pack->add_option("-o,--output", arguments->output, "file to write (default: into the database's packs)");
  CLI::App *diff = addDevice(add("diff", "Compare the choices of two databases; 1 if they differ", diffDatabases));
  diff->add_option("DATABASE", arguments->paths, "two folders, packs or journals")->required()->expected(2);
  addDevice(addDatabase(add("digest", "Print the selection digest of each device", printDigest)));
  CLI::App *prune = addDatabase(add("prune", "Drop what no choice rests on; leave one pack", pruneDatabase));
  prune->add_flag("--dry-run", arguments->dryRun, "only say what would happen");
}

} // namespace fresnel::tool
