//===- TuneWorker.h - The disposable processes of the tuner -----------------===//
//
// A worker does one job and ends: it reads a JSON file and prints one line of
// JSON. Whatever happens in it (a fault, a hang, an abort of the compiler) ends
// with it. `fresnel tune-worker FILE` is the worker; FRESNEL_TUNE_WORKER names
// another program that speaks the same for jobs that need a GPU.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNEWORKER_H
#define FRESNEL_TOOLS_TUNEWORKER_H

#include "Common.h"
#include "fresnel/Tuning/Record.h"

#include <atomic>

namespace fresnel::tool {

/// How a worker ended. Beyond Ok, `reason` says why.
struct WorkerReply {
  rt::TrialStatus status = rt::TrialStatus::Crashed;
  std::string reason;
  Json data;
  /// The tuner ended it before it answered, which says nothing about the job.
  bool stopped = false;
};

/// When a worker is ended.
struct WorkerLimits {
  /// Its own: a job that takes longer timed out.
  double seconds;
  /// The tuner's: a job that lives then, when `*stop` is set or at an interrupt is stopped.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  const std::atomic<bool> *stop = nullptr;
};

/// Runs a job in a worker of its own and waits for it within the limits; then it is
/// killed. `idle` is called several times a second. May be called from several threads.
WorkerReply runWorker(
    const Json &job, const std::string &scratch, const WorkerLimits &limits, const std::function<void()> &idle = [] {});

/// True once the user asked to stop (Ctrl-C, SIGTERM).
bool isInterrupted();
/// From now on these signals only set what isInterrupted says.
void catchInterrupts();

/// Ends a job with the status of its trial.
struct TrialFailure {
  rt::TrialStatus status;
  std::string reason;
};

/// The jobs, run inside the worker. They return the reply's JSON or throw
/// TrialFailure, or Failure for what no trial can cause.
Json prepareJob(const Json &job);
Json compileJob(const Json &job);
Json describeJob(const Json &job);
Json measureJob(const Json &job);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNEWORKER_H
