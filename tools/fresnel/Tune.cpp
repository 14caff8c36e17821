//===- Tune.cpp - fresnel tune ----------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Commands.h"
#include "Execute.h"
#include "Options.h"
#include "TuneReport.h"
#include "TuneTrace.h"
#include "TuneWorker.h"

#include "fresnel/Artifact/File.h"

#include <algorithm>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <iostream>
#include <set>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace fresnel::tool {

namespace {
struct TuneArguments {
  std::string method, target, database, space = "quick", html, trace;
  std::vector<std::string> sets, gradOf;
  std::vector<int64_t> lengths, headDims, heads;
  TuneOptions options;
  bool grad = false, json = false;
};

/// A folder of the tuner's own that goes away with it, and its lock, which a killed tuner leaves free.
struct Scratch {
  std::string path;
  int lock = -1;

  Scratch() {
    std::error_code error;
    std::filesystem::path parent = std::filesystem::temp_directory_path(error);
    if (error)
      fail(ExitEnvironment, "there is no temporary folder: " + error.message(), "set TMPDIR to a folder");
    removeLeftOver(parent);
    path = (parent / (std::string(kPrefix) + "XXXXXX")).string();
    if (!mkdtemp(path.data()))
      fail(ExitEnvironment, "cannot create a folder in " + parent.string());
    lock = tryLock(path);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
    if (lock >= 0)
      close(lock);
  }

private:
  static constexpr const char *kPrefix = "fresnel-tune.";

  /// A descriptor that holds the lock of `folder`, or -1.
  static int tryLock(const std::string &folder) {
    int file = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0 || flock(file, LOCK_EX | LOCK_NB) == 0)
      return file;
    close(file);
    return -1;
  }

  /// Removes folders of tuners of this user that were killed. One that is younger than a minute may not be locked yet.
  static void removeLeftOver(const std::filesystem::path &parent) {
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(parent, error)) {
      struct stat info;
      if (entry.path().filename().string().rfind(kPrefix, 0) != 0 || lstat(entry.path().c_str(), &info) != 0 ||
          !S_ISDIR(info.st_mode) || info.st_uid != geteuid() || std::time(nullptr) - info.st_mtime < 60)
        continue;
      int file = tryLock(entry.path().string());
      if (file < 0)
        continue;
      std::filesystem::remove_all(entry.path(), error);
      close(file);
    }
  }
};
} // namespace

/// The method at every size that was asked for.
static std::vector<TuneRequest> listRequests(const TuneArguments &arguments, const std::string &target) {
  checkSets(arguments.sets);
  TuneRequest base;
  base.method = arguments.method;
  base.target = target;
  base.sets = arguments.sets;
  base.grad = arguments.grad;
  base.gradOf = arguments.gradOf;
  base.label = arguments.method;
  for (const std::string &set : arguments.sets)
    base.label += " " + set;
  std::vector<TuneRequest> requests = {base};
  auto isSet = [&](const std::string &parameter) {
    return std::any_of(arguments.sets.begin(), arguments.sets.end(),
                       [&](const std::string &set) { return set.rfind(parameter + "=", 0) == 0; });
  };
  auto vary = [&](const char *option, const char *parameter, const std::vector<int64_t> &values) {
    if (values.empty())
      return;
    if (isSet(parameter))
      fail(ExitUsage, std::string(option) + " and --set " + parameter + " both give " + parameter, "leave one out");
    if (isFile(arguments.method))
      fail(ExitUsage, std::string(option) + " applies to presets; " + arguments.method + " is a file", "edit the file");
    std::vector<TuneRequest> varied;
    for (const TuneRequest &request : requests)
      for (int64_t value : values) {
        varied.push_back(request);
        std::string text = std::string(parameter) + "=" + std::to_string(value);
        varied.back().sets.push_back(text);
        varied.back().label += " " + text;
      }
    requests = varied;
  };
  vary("--head-dim", "head_dim", arguments.headDims);
  vary("--heads", "heads", arguments.heads);
  // As many key heads as heads, unless the user says otherwise.
  for (TuneRequest &request : requests)
    for (size_t i = 0; !isSet("kv_heads") && i < request.sets.size(); ++i)
      if (request.sets[i].rfind("heads=", 0) == 0)
        request.sets.push_back("kv_heads=" + request.sets[i].substr(6));
  vary("--seq", "seq_len", arguments.lengths);
  return requests;
}

static void writeHtml(const TuneArguments &arguments, const std::vector<ProblemReport> &reports,
                      const rt::DeviceClass &device) {
  if (arguments.html.empty())
    return;
  rt::Status status = rt::writeFileAtomically(arguments.html, {reportHtml(reports, device)});
  if (!status.ok())
    fail(ExitEnvironment, status.message());
}

/// `unseen`: the requests that the budget did not reach.
static int report(const TuneArguments &arguments, const std::vector<ProblemReport> &reports,
                  std::vector<std::string> unseen, const TuneSession &session, const std::string &database) {
  writeHtml(arguments, reports, session.device());
  bool failed =
      std::any_of(reports.begin(), reports.end(), [](const ProblemReport &r) { return !r.chosen && !r.leftOut; });
  std::vector<std::string> begun;
  for (const ProblemReport &r : reports)
    if (r.leftOut && (begun.empty() || begun.back() != r.subject))
      begun.push_back(r.subject);
  unseen.insert(unseen.begin(), begun.begin(), begun.end());
  int code = isInterrupted() ? ExitInterrupted : failed ? ExitCheckFailed : ExitOk;
  if (arguments.json) {
    printJson("fresnel.tune/1", {{"ok", code == ExitOk},
                                 {"exit_code", code},
                                 {"device", session.device().name},
                                 {"database", database},
                                 {"seconds", session.secondsSpent()},
                                 {"problems", reportJson(reports)},
                                 {"left_out", unseen}});
  } else {
    std::cout << reportText(reports);
    std::cout << session.device().name << ", " << formatSeconds(session.secondsSpent()) << " of a budget of "
              << formatSeconds(arguments.options.budget) << " -> " << database << "\n";
  }
  if (!unseen.empty() && !isInterrupted())
    std::cerr << "note: the budget ended before " << unseen.front()
              << (unseen.size() > 1 ? " and " + std::to_string(unseen.size() - 1) + " more" : "")
              << "; the same command goes on from there\n";
  if (isInterrupted())
    std::cerr << "interrupted: what was measured is kept; the same command goes on from there\n";
  return code;
}

static int tuneCommand(TuneArguments arguments) {
  if (arguments.method.empty() == arguments.trace.empty())
    fail(ExitUsage, arguments.method.empty() ? "tune needs a METHOD or --from-trace FILE"
                                             : "tune takes a METHOD or --from-trace FILE, not both");
  // What the tuner itself loads is not the user's workload.
  unsetenv("FRESNEL_TRACE");
  std::string database = databaseFolder(arguments.database, "tune");
  checkWritable(arguments.html);
  checkSpares("--html", arguments.html, {findMethodFile(arguments.method), arguments.trace});
  TuneOptions &options = arguments.options;
  options.space = arguments.space == "full" ? SpaceSize::Full : SpaceSize::Quick;
  if (options.jobs == 0)
    options.jobs = std::max(1u, std::thread::hardware_concurrency());
  if (!arguments.target.empty())
    checkTarget(arguments.target);
  catchInterrupts();
  Scratch scratch;
  TuneSession session(options, database, scratch.path);
  std::string target = arguments.target.empty() ? targetFor(session.device()) : arguments.target;
  std::vector<TuneRequest> requests = arguments.trace.empty()
                                          ? listRequests(arguments, target)
                                          : readTraceRequests(arguments.trace, target, session.device(), scratch.path);
  std::vector<ProblemReport> reports;
  std::set<std::string> seen;
  std::vector<std::string> unseen;
  for (size_t i = 0; i < requests.size() && !isInterrupted(); ++i) {
    if (session.secondsLeft() <= 0) {
      unseen.push_back(requests[i].label);
      continue;
    }
    TuneSubject subject = listSubject(requests[i], options.space, session.device(), scratch.path);
    if (subject.kernels.empty())
      std::cerr << requests[i].label << ": every kernel has one schedule on " << target
                << "; there is nothing to tune\n";
    size_t done = 0;
    for (const TunableKernel &kernel : subject.kernels) {
      // Kernels of one problem, in this plan or an earlier one, share their trials.
      size_t left = (requests.size() - i - 1) * subject.kernels.size() + subject.kernels.size() - done++;
      if (seen.insert(kernel.problem.key).second && !isInterrupted())
        reports.push_back(session.tune(subject, kernel, left));
    }
  }
  return report(arguments, reports, std::move(unseen), session, database);
}

void addTuneCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<TuneArguments>();
  CLI::App *command = app.add_subcommand("tune", "Measure schedules on this GPU and remember the best");
  command->add_option("METHOD", arguments->method, "a preset or a .mlir file");
  CLI::Option *trace =
      command->add_option("--from-trace", arguments->trace, "tune what a program met: a file that FRESNEL_TRACE wrote");
  command->add_option("--set", arguments->sets, "give a preset's parameter a value: NAME=VALUE, repeatable")
      ->allow_extra_args(false);
  command->add_option("--seq", arguments->lengths, "sequence lengths: N,N,...")->delimiter(',')->check(wholeNumber(1));
  command->add_option("--head-dim", arguments->headDims, "head dims: D,D,...")->delimiter(',')->check(wholeNumber(1));
  command->add_option("--heads", arguments->heads, "heads: H,H,... (as many key heads, unless --set kv_heads)")
      ->delimiter(',')
      ->check(wholeNumber(1));
  command->add_flag("--grad", arguments->grad, "tune the gradients' kernels too");
  command->add_option("--grad-of", arguments->gradOf, "outputs to differentiate (default: the first one)")
      ->needs("--grad")
      ->delimiter(',');
  command->add_option("--budget", arguments->options.budget, "seconds for everything (default 600)")
      ->check(numberOf("seconds", 0.001, kMostSeconds));
  command->add_option("--limit", arguments->options.limit, "seconds for one trial before it is ended (default 30)")
      ->check(numberOf("seconds", 0.001, kMostSeconds));
  command->add_option("--db", arguments->database, "folder of the database (default: the user's)");
  command->add_option("--space", arguments->space, "quick (default): the default's family; full: everything")
      ->check(CLI::IsMember({"quick", "full"}));
  command->add_option("--most", arguments->options.most, "try at most this many schedules of a kernel")
      ->check(wholeNumber(1));
  command->add_option("--jobs", arguments->options.jobs, "compilations at a time (default: one per CPU)")
      ->check(wholeNumber(1, 1024));
  command->add_option("--device", arguments->options.device, "number of the GPU (default 0)")
      ->check(wholeNumber(0, INT32_MAX));
  command->add_option("--target", arguments->target, "GPU to compile for (default: the one that measures)");
  command->add_flag("--retry", arguments->options.retry, "measure again what failed before");
  command->add_flag("--retune", arguments->options.retune, "measure everything again");
  command->add_option("--html", arguments->html, "write the report as a page with plots to this file");
  command->add_flag("--json", arguments->json, "print one JSON document (schema fresnel.tune/1)");
  for (const char *option : {"--set", "--seq", "--head-dim", "--heads", "--grad"})
    trace->excludes(option);
  command->callback([&action, arguments] { action = [arguments] { return tuneCommand(*arguments); }; });
}

} // namespace fresnel::tool
