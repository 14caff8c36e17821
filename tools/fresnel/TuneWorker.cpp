//===- TuneWorker.cpp - The disposable processes of the tuner ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "TuneWorker.h"
#include "Commands.h"

#include "fresnel/Artifact/File.h"
#include "fresnel/Tuning/Journal.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fresnel::tool {

//===----------------------------------------------------------------------===//
// Interrupts
//===----------------------------------------------------------------------===//

static std::atomic<bool> interrupted{false};

bool isInterrupted() { return interrupted; }

void catchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

//===----------------------------------------------------------------------===//
// The tuner's side
//===----------------------------------------------------------------------===//

namespace {
/// A child process in a group of its own, whose stdout is a pipe.
struct Child {
  pid_t process = -1;
  int output = -1;

  ~Child() {
    if (output >= 0)
      close(output);
  }
};
} // namespace

/// Starts `program` for a job file; its stderr goes to `errors`.
static Child start(const std::string &program, const std::string &jobFile, const std::string &errors) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    fail(ExitEnvironment, std::string("cannot start a worker: ") + std::strerror(errno));
  int log = open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  // Everything the child needs is ready: between fork and exec it may not allocate.
  std::vector<const char *> arguments = {program.c_str(), "tune-worker", jobFile.c_str(), nullptr};
  std::string unknown = "cannot run '" + program + "'";
  pid_t parent = getpid();
  Child child;
  child.process = fork();
  if (child.process == 0) {
    setpgid(0, 0);
    // A tuner that is killed takes its workers along.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(127);
    dup2(ends[1], STDOUT_FILENO);
    if (log >= 0)
      dup2(log, STDERR_FILENO);
    execvp(arguments[0], const_cast<char *const *>(arguments.data()));
    // The tuner shows what is here; a message that cannot be written changes nothing.
    [[maybe_unused]] ssize_t written = write(STDERR_FILENO, unknown.data(), unknown.size());
    _exit(127);
  }
  close(ends[1]);
  if (log >= 0)
    close(log);
  child.output = ends[0];
  if (child.process < 0)
    fail(ExitEnvironment, std::string("cannot start a worker: ") + std::strerror(errno));
  return child;
}

/// The end of a worker's stderr, on one line.
static std::string tailOf(const std::string &path) {
  rt::Expected<std::string> text = rt::readFile(path);
  if (!text || text->empty())
    return "";
  std::string tail = text->substr(text->size() > 300 ? text->size() - 300 : 0);
  for (char &c : tail)
    if (c == '\n')
      c = ' ';
  return ": " + tail;
}

/// What the worker printed, and how it ended.
static WorkerReply readReply(const std::string &output, int status, const std::string &errors) {
  if (WIFSIGNALED(status))
    return {rt::TrialStatus::Crashed,
            std::string("the worker was ended by ") + strsignal(WTERMSIG(status)) + tailOf(errors),
            {}};
  size_t end = output.find_last_not_of('\n');
  size_t begin = end == std::string::npos ? end : output.rfind('\n', end);
  std::string line = end == std::string::npos ? "" : output.substr(begin == std::string::npos ? 0 : begin + 1);
  Json data = Json::parse(line, nullptr, false);
  if (!data.is_object() || !data.contains("status") || !data["status"].is_string())
    return {rt::TrialStatus::Crashed,
            "the worker ended with code " + std::to_string(WEXITSTATUS(status)) + " and no answer" + tailOf(errors),
            {}};
  WorkerReply reply;
  for (int i = 0; i <= int(rt::TrialStatus::Crashed); ++i)
    if (data["status"] == rt::nameOf(rt::TrialStatus(i)))
      reply.status = rt::TrialStatus(i);
  if (data.contains("reason") && data["reason"].is_string())
    reply.reason = data["reason"].get<std::string>();
  reply.data = std::move(data);
  return reply;
}

namespace {
enum class Ending { Answered, TimedOut, Stopped };
} // namespace

/// Reads until the worker closes its output or a limit is reached.
static Ending readAll(const Child &child, std::string &output, const WorkerLimits &limits,
                      const std::function<void()> &idle) {
  auto start = std::chrono::steady_clock::now();
  char buffer[4096];
  for (;;) {
    auto now = std::chrono::steady_clock::now();
    double own = limits.seconds - std::chrono::duration<double>(now - start).count();
    double all = std::chrono::duration<double>(limits.deadline - now).count();
    if (isInterrupted() || all <= 0 || (limits.stop && *limits.stop))
      return Ending::Stopped;
    if (own <= 0)
      return Ending::TimedOut;
    pollfd entry = {child.output, POLLIN, 0};
    int ready = poll(&entry, 1, int(std::min({own, all, 0.1}) * 1000) + 1);
    idle();
    if (ready <= 0)
      continue;
    ssize_t count = read(child.output, buffer, sizeof buffer);
    if (count == 0)
      return Ending::Answered;
    if (count > 0)
      output.append(buffer, size_t(count));
  }
}

/// Waits for the process to end and gives its status. The next worker must not meet one that still dies, but when the
/// tuner ends there is no next one: then `briefly`.
static int reap(pid_t process, bool briefly) {
  int status = 0;
  for (int tries = 0; !briefly || tries < 40; ++tries) {
    pid_t ended = waitpid(process, &status, briefly ? WNOHANG : 0);
    if (ended > 0 || (ended < 0 && errno != EINTR))
      break;
    if (briefly)
      usleep(5000);
  }
  return status;
}

WorkerReply runWorker(const Json &job, const std::string &scratch, const WorkerLimits &limits,
                      const std::function<void()> &idle) {
  const char *other = std::getenv("FRESNEL_TUNE_WORKER");
  bool needsGpu = job["type"] == "measure" || job["type"] == "describe";
  std::string program = other && *other && needsGpu ? other : "/proc/self/exe";
  std::string file = scratch + "/job." + rt::makeRunId();
  rt::Status written = rt::writeFileAtomically(file, {job.dump()});
  if (!written.ok())
    fail(ExitEnvironment, written.message());
  std::string output, errors = file + ".err";
  Child child = start(program, file, errors);
  Ending ending = readAll(child, output, limits, idle);
  if (ending != Ending::Answered)
    kill(-child.process, SIGKILL);
  int status = reap(child.process, ending == Ending::Stopped);
  WorkerReply reply;
  if (ending == Ending::Answered)
    reply = readReply(output, status, errors);
  else
    reply = {rt::TrialStatus::Timeout,
             "no answer within " + formatSeconds(limits.seconds) + ", ended" + tailOf(errors),
             {},
             ending == Ending::Stopped};
  unlink(file.c_str());
  unlink(errors.c_str());
  return reply;
}

//===----------------------------------------------------------------------===//
// The worker's side
//===----------------------------------------------------------------------===//

static Json runJob(const Json &job) {
  std::string type = job.at("type");
  if (type == "prepare")
    return prepareJob(job);
  if (type == "compile")
    return compileJob(job);
  if (type == "describe")
    return describeJob(job);
  if (type == "measure")
    return measureJob(job);
  fail(ExitUsage, "there is no job of type '" + type + "'");
}

static int workerCommand(const std::string &path) {
  rt::Expected<std::string> text = rt::readFile(path);
  if (!text)
    fail(ExitUsage, text.status().message());
  Json reply;
  try {
    reply = runJob(Json::parse(*text));
  } catch (const TrialFailure &failure) {
    reply = {{"status", rt::nameOf(failure.status)}, {"reason", failure.reason}};
  } catch (const Failure &failure) {
    reply = {{"status", rt::nameOf(rt::TrialStatus::LoadError)}, {"reason", failure.message}};
  }
  std::cout << reply.dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
  return ExitOk;
}

void addTuneWorkerCommand(CLI::App &app, Action &action) {
  auto path = std::make_shared<std::string>();
  CLI::App *command = app.add_subcommand("tune-worker", "Do one job of the tuner");
  command->group("");
  command->add_option("JOB", *path, "a JSON file")->required();
  command->callback([&action, path] { action = [path] { return workerCommand(*path); }; });
}

} // namespace fresnel::tool
