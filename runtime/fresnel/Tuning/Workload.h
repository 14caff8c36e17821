//===- Workload.h - The problems that a program met, for the tuner
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// With FRESNEL_TRACE=FILE the runtime appends a line of JSON for every method that
// is loaded, and `fresnel tune --from-trace FILE` tunes exactly those.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TUNING_WORKLOAD_H
#define FRESNEL_TUNING_WORKLOAD_H

#include "fresnel/Tuning/Record.h"

namespace fresnel::rt {

/// The schema that is written; readers refuse other major versions.
constexpr const char *kWorkloadSchema = "fresnel.workload/1";

/// A method at one size on one kind of GPU.
struct Workload {
  /// A preset's name with all its parameters (a JSON object), or the name of a file.
  std::string method, parameters = "{}";
  /// Of the first input.
  std::string dtype;
  std::string target;
  /// With a backward plan.
  bool grad = false;
  DeviceClass device;
  /// The program's text, gradients included.
  std::string program;
};

/// Canonical JSON, without a newline.
std::string toJson(const Workload &workload);
/// Reads a line; errors say which member is wrong.
Expected<Workload> parseWorkload(std::string_view line);

/// Appends the workload to the file unless it is there. Any number of processes
/// and threads may do so at once: a lock on the file keeps a line whole and single,
/// and where there are no locks a reader drops what is double.
Status recordWorkload(const std::string &path, const Workload &workload);

/// The workloads of a file, each once, in its order. Lines that are damaged or of
/// another schema are left out with a warning.
Expected<std::vector<Workload>> readWorkloads(const std::string &path, std::vector<std::string> &warnings);

} // namespace fresnel::rt

#endif // FRESNEL_TUNING_WORKLOAD_H
