//===- TuneWork.h - One kernel while it is tuned ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNEWORK_H
#define FRESNEL_TOOLS_TUNEWORK_H

#include "TuneSession.h"
#include "TuneWorker.h"

#include "llvm/Support/ThreadPool.h"

#include <atomic>

namespace fresnel::tool {

struct TuneSession::Work {
  Work(TuneSubject &subject, const TunableKernel &kernel) : subject(subject), kernel(kernel) {}
  ~Work() {
    stop = true;
    pool.reset();
  }
  std::string path(size_t candidate, const char *what) const {
    return id + "." + std::to_string(candidate) + "." + what + ".fkb";
  }

  TuneSubject &subject;
  const TunableKernel &kernel;
  ProblemReport report;
  /// Bundles in the scratch folder.
  std::string prefix, id;
  std::set<std::string> sequenceMajor;
  /// One past the last schedule that may be tried.
  size_t end = 0;
  /// By candidate: the trial of the screening that the database has of the same compiler, null without one.
  std::vector<const rt::Trial *> known;
  /// By candidate: its compilation, invalid where none was asked for, and its code once that is known.
  std::vector<std::shared_future<WorkerReply>> compiled;
  std::vector<std::string> hashes;
  /// Seconds of the longest trial so far.
  double longest = 0;
  /// Tells compilations that nobody waits for them any more.
  std::atomic<bool> stop{false};
  /// There from when something must be compiled.
  std::unique_ptr<llvm::DefaultThreadPool> pool;
};

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNEWORK_H
