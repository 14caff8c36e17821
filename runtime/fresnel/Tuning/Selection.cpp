//===- Selection.cpp - Which schedule a database answers with
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tuning/Selection.h"
#include "fresnel/Artifact/Sha256.h"
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace fresnel::rt {

static constexpr const char *kSources[] = {"exact", "nearest", "heuristic"};

const char *nameOf(ChoiceSource source) { return kSources[int(source)]; }

Expected<ChoiceSource> sourceOf(const Kernel &kernel) {
  using nlohmann::json;
  json choice = json::parse(kernel.choice, nullptr, /*allow_exceptions=*/false), source = "heuristic";
  if (choice.is_object() && choice.contains("source"))
    source = choice["source"];
  for (ChoiceSource known : {ChoiceSource::Exact, ChoiceSource::Nearest, ChoiceSource::Heuristic})
    if (source == nameOf(known))
      return known;
  return Status(Code::Unsupported, "the schedule of kernel '" + kernel.name + "' is from the source " + source.dump() +
                                       ", which this version does not know; a newer one made the bundle");
}

//===----------------------------------------------------------------------===//
// The best trial
//===----------------------------------------------------------------------===//

/// Differences below this are not worth another kernel.
static constexpr double kLeastNoise = 0.01;

/// How far a median may be off, as a fraction: a quarter more than the standard
/// error of the middle of `count` samples with this spread.
static double getNoise(const Timing &us) {
  double spread = (us.p80 - us.p20) / us.median;
  return std::max(kLeastNoise, 1.25 * spread / std::sqrt(double(us.count)));
}

/// More samples say more; between equals the choice is arbitrary, but always the same.
static bool isBetterEvidence(const Trial &a, const Trial &b) {
  auto rank = [](const Trial &trial) {
    return std::make_tuple(-trial.us.count, trial.us.relative, trial.us.median, std::cref(trial.run));
  };
  return rank(a) < rank(b);
}

const Trial *chooseTrial(const std::vector<const Trial *> &trials) {
  TrialStage stage = TrialStage::Screen;
  for (const Trial *trial : trials)
    if (trial->status == TrialStatus::Ok)
      stage = std::max(stage, trial->stage);
  std::map<std::string, const Trial *> best;
  std::set<std::string> baselines;
  for (const Trial *trial : trials) {
    if (trial->status != TrialStatus::Ok || trial->stage != stage)
      continue;
    baselines.insert(trial->baseline);
    const Trial *&known = best[trial->schedule];
    if (!known || isBetterEvidence(*trial, *known))
      known = trial;
  }
  // Times relative to one baseline compare across runs and clocks; to several, they do not.
  bool relative = baselines.size() == 1;
  auto cost = [relative](const Trial *trial) { return relative ? trial->us.relative : trial->us.median; };
  const Trial *fastest = nullptr;
  for (const auto &[schedule, trial] : best)
    if (!fastest || cost(trial) < cost(fastest))
      fastest = trial;
  if (!fastest)
    return nullptr;
  double limit = cost(fastest) * (1 + getNoise(fastest->us));
  if (relative) {
    auto known = best.find(*baselines.begin());
    if (known != best.end() && cost(known->second) <= limit)
      return known->second;
  }
  for (const auto &[schedule, trial] : best)
    if (cost(trial) <= limit)
      return trial;
  return fastest;
}

//===----------------------------------------------------------------------===//
// Lookup
//===----------------------------------------------------------------------===//

int64_t bucketOf(int64_t length) {
  int64_t power = 1;
  while (power <= length / 2)
    power *= 2;
  return length >= power + power / 2 && power > 1 ? power + power / 2 : power;
}

Selection::Selection(const Database &database, const DeviceClass &device) {
  std::map<std::string, std::vector<const Trial *>> trials;
  for (const auto &[text, record] : database.records())
    if (record.kind == RecordKind::Trial && record.trial.device == device)
      trials[record.trial.problem.key].push_back(&record.trial);
  for (const auto &[key, list] : trials)
    if (const Trial *best = chooseTrial(list))
      chosen.emplace(key, *best);
}

/// How far apart the lengths are, in octaves; nothing if a bucket differs.
static std::optional<double> getDistance(const std::vector<int64_t> &a, const std::vector<int64_t> &b) {
  if (a.size() != b.size())
    return std::nullopt;
  double distance = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (bucketOf(a[i]) != bucketOf(b[i]))
      return std::nullopt;
    distance += std::abs(std::log2(double(std::max<int64_t>(a[i], 1)) / double(std::max<int64_t>(b[i], 1))));
  }
  return distance;
}

Choice Selection::lookup(const Problem &problem, const std::function<bool(const std::string &)> &accepts) const {
  auto exact = chosen.find(problem.key);
  if (exact != chosen.end() && accepts(exact->second.schedule))
    return {ChoiceSource::Exact, exact->second};
  const Trial *nearest = nullptr;
  double least = 0;
  // In the order of keys: of two that are equally near the first is taken.
  for (const auto &[key, trial] : chosen) {
    if (trial.problem.family != problem.family || key == problem.key)
      continue;
    std::optional<double> distance = getDistance(trial.problem.lengths, problem.lengths);
    if (!distance || (nearest && *distance >= least) || !accepts(trial.schedule))
      continue;
    nearest = &trial;
    least = *distance;
  }
  if (nearest)
    return {ChoiceSource::Nearest, *nearest};
  return {};
}

std::vector<DeviceClass> listDevices(const Database &database) {
  std::set<DeviceClass> devices;
  for (const auto &[text, record] : database.records())
    if (record.kind == RecordKind::Trial)
      devices.insert(record.trial.device);
  return {devices.begin(), devices.end()};
}

//===----------------------------------------------------------------------===//
// Digest
//===----------------------------------------------------------------------===//

void SelectionDigest::add(const std::string &problem, const std::string &schedule, const std::string &kernel) {
  nlohmann::json entry = {problem, schedule, kernel};
  entries.insert(entry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void SelectionDigest::add(const Selection &selection) {
  for (const auto &[key, trial] : selection.choices())
    add(key, trial.schedule, trial.kernel);
}

std::string SelectionDigest::finish() const {
  std::string text;
  for (const std::string &entry : entries)
    text += entry + "\n";
  return toHex(sha256(text));
}

} // namespace fresnel::rt
