//===- TuneSubject.h - A method at one size, ready to be tuned --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNESUBJECT_H
#define FRESNEL_TOOLS_TUNESUBJECT_H

#include "Common.h"
#include "Method.h"
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

/// A method at one size: its files in the scratch folder, and its kernels.
struct TuneSubject {
  std::string label, target;
  /// The default plan.
  rt::Bundle plan;
  /// Programs at full and at the checked length, the plan of the latter, and its
  /// inputs with what the oracle computes from them. Without an oracle the last
  /// three are empty: the method is a file, whose length cannot be changed.
  std::string program, checkProgram, checkPlan, oracle;
  double tolerance = 1e-2;
  std::vector<TunableKernel> kernels;
};

/// Compiles the defaults, runs the oracle and enumerates the spaces. Fails as
/// `fresnel compile` does.
TuneSubject prepareSubject(const TuneRequest &request, SpaceSize space, const rt::DeviceClass &device,
                           const std::string &scratch);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNESUBJECT_H
