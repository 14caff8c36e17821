//===- TuneSubject.h - A method at one size, ready to be tuned --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNESUBJECT_H
#define FRESNEL_TOOLS_TUNESUBJECT_H

#include "Common.h"
#include "Method.h"
#include "TuneWorker.h"
#include "Tuned.h"

#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Schedule/Space.h"

namespace fresnel::tool {

/// A schedule as the tuner carries it: text, free of any compiler's context.
struct TunableSchedule {
  std::string schedule;
  std::string rejected;
  double boundCycles = 0;
};

/// A kernel with more than one legal schedule.
struct TunableKernel {
  std::string name;
  rt::Problem problem;
  /// The default first.
  std::vector<TunableSchedule> schedules;
};

/// What to tune: METHOD with these values of its parameters.
struct TuneRequest {
  std::string method, target;
  std::vector<std::string> sets, gradOf;
  bool grad = false;
  /// "dense seq_len=8192 head_dim=128".
  std::string label;
};

/// A method at one size: its kernels, and its files in the scratch folder.
struct TuneSubject {
  TuneRequest request;
  /// The program at full length.
  std::string program;
  std::vector<TunableKernel> kernels;

  /// What measuring needs is there: the members below.
  bool prepared = false;
  /// The default plan.
  rt::Bundle plan;
  /// The program at the checked length, its plan, and its inputs with what the
  /// oracle computes from them. Without an oracle they are empty: the method is a
  /// file, whose length cannot be changed.
  std::string checkProgram, checkPlan, oracle;
  double tolerance = 1e-2;
};

/// Enumerates the spaces of the kernels, which takes no time to speak of. Fails as
/// `fresnel compile` does.
TuneSubject listSubject(const TuneRequest &request, SpaceSize space, const rt::DeviceClass &device,
                        const std::string &scratch);

/// The job of a worker that compiles the defaults and runs the oracle, and what becomes
/// of its reply. The latter fails as `fresnel compile` does.
Json prepareRequest(const TuneSubject &subject, const std::string &scratch);
void takePreparation(TuneSubject &subject, const WorkerReply &reply);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNESUBJECT_H
