//===- Selection.h - Which schedule a database answers with
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every function here depends on the set of records only, not on their order or
// on the files they come from: two machines with the same records choose alike.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TUNING_SELECTION_H
#define FRESNEL_TUNING_SELECTION_H

#include "fresnel/Artifact/Manifest.h"
#include "fresnel/Tuning/Database.h"
#include <functional>
#include <optional>
#include <set>

namespace fresnel::rt {

/// The best of the trials of one problem on one device class, or null without
/// any that is Ok. Only trials of the latest stage compete. Among those within
/// noise of the fastest the default wins, if all were compared with the same one
/// and it is among them, else the lowest canonical schedule, so that a lucky
/// sample does not decide.
const Trial *chooseTrial(const std::vector<const Trial *> &trials);

/// Sequence lengths n and m are in one bucket if no power of two, nor one and a
/// half times one, is in (min, max].
int64_t bucketOf(int64_t length);

enum class ChoiceSource { Exact, Nearest, Heuristic };
const char *nameOf(ChoiceSource source);

/// What chose the schedule of a bundle's kernel; Heuristic also where no database was asked. Unsupported for a source
/// that this version does not know.
Expected<ChoiceSource> sourceOf(const Kernel &kernel);

/// The answer of a lookup.
struct Choice {
  ChoiceSource source = ChoiceSource::Heuristic;
  /// Exact and Nearest: the trial that it rests on.
  std::optional<Trial> trial;
};

/// The chosen schedule of each problem of a database, for one device class.
/// Immutable, hence thread-safe.
class Selection {
public:
  Selection() = default;
  Selection(const Database &database, const DeviceClass &device);

  /// The same problem; else the problem of its family with the nearest lengths,
  /// each in its length's bucket; else the heuristic. `accepts` says whether a
  /// schedule is legal for the problem; schedules that it refuses are passed over.
  Choice lookup(const Problem &problem, const std::function<bool(const std::string &schedule)> &accepts) const;

  /// By the problem's key.
  const std::map<std::string, Trial> &choices() const { return chosen; }

private:
  std::map<std::string, Trial> chosen;
};

/// The device classes that a database has trials of, in order.
std::vector<DeviceClass> listDevices(const Database &database);

/// A SHA-256 over every problem and the schedule and kernel chosen for it, in
/// canonical order: processes with equal digests run the same kernels.
class SelectionDigest {
public:
  /// `kernel` is the hash of the code; adding an entry twice changes nothing.
  void add(const std::string &problem, const std::string &schedule, const std::string &kernel);
  void add(const Selection &selection);
  /// 64 hexadecimal digits.
  std::string finish() const;

private:
  std::set<std::string> entries;
};

} // namespace fresnel::rt

#endif // FRESNEL_TUNING_SELECTION_H
