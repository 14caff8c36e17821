//===- Common.h - what every sub-command of fresnel shares -----------------===//
//
// Exit codes, failures, JSON and table output, progress on stderr, and the
// search for the name that a misspelt one was meant to be.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_COMMON_H
#define FRESNEL_TOOLS_COMMON_H

#include <nlohmann/json.hpp>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace fresnel::tool {

using Json = nlohmann::ordered_json;

/// Exit codes of the program; documented in `fresnel --help` and docs/cli.md.
enum ExitCode {
  ExitOk = 0,
  ExitCheckFailed = 1,
  ExitUsage = 2,
  ExitUnsupported = 3,
  ExitEnvironment = 4,
  ExitFormat = 5,
  ExitInternal = 70,
  ExitInterrupted = 130,
};

/// Ends a sub-command: thrown anywhere below `main`, which prints `message`
/// (and `hint`, what to do about it) and exits with `code`.
struct Failure {
  ExitCode code;
  std::string message;
  std::string hint = {};
};

[[noreturn]] inline void fail(ExitCode code, std::string message, std::string hint = {}) {
  throw Failure{code, std::move(message), std::move(hint)};
}

/// The entry of `candidates` closest to `name`, or "" if none is close.
std::string closest(const std::string &name, const std::vector<std::string> &candidates);

/// "did you mean 'x'?" for the closest candidate, else "known: a, b, c".
std::string suggestion(const std::string &name, const std::vector<std::string> &candidates);

/// `text` inside a human-readable table; the first row is the header. Columns
/// whose cells below the header are all numbers are aligned to the right.
std::string formatTable(const std::vector<std::vector<std::string>> &rows);

/// "1.5 KiB", "96 MiB".
std::string formatBytes(uint64_t bytes);

/// "1 kernel", "13 kernels".
std::string formatCount(size_t count, const std::string &noun);

/// "0.8 ms", "12.4 s".
std::string formatSeconds(double seconds);

/// The value below which the part `at` of `values` lies; 0 without values.
double quantile(std::vector<double> values, double at);

/// Prints `document` to stdout, with "schema" as its first member.
void printJson(const std::string &schema, const Json &document);

/// Says on stderr what is going on, once it has taken more than a second: a line
/// that counts the seconds on a terminal, else one line at the start and the end.
/// The object must outlive the work; it may be used from one thread.
class Progress {
public:
  explicit Progress(std::string label);
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  /// Seconds since construction.
  double seconds() const;

private:
  void show();

  std::string label;
  std::chrono::steady_clock::time_point start;
  std::mutex mutex;
  std::condition_variable wake;
  bool finished = false;
  bool shown = false;
  bool terminal;
  std::thread thread;
};

/// Splits "name=value" (of --set and --override-stage); fails with ExitUsage if
/// there is no '=' or no name.
std::pair<std::string, std::string> splitAssignment(const std::string &option, const std::string &text);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_COMMON_H
