//===- Record.cpp - What the tuner learned about one schedule of one kernel
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tuning/Record.h"
#include "fresnel/Artifact/File.h"
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

using nlohmann::json;

namespace fresnel::rt {

static constexpr const char *kStatuses[] = {"ok",    "pruned",  "compile_error", "load_error", "wrong_result",
                                            "fault", "timeout", "out_of_memory", "crashed"};
static constexpr const char *kStages[] = {"screen", "halving", "final"};
static constexpr const char *kKinds[] = {"begin", "trial", "stopped"};

const char *nameOf(TrialStatus status) { return kStatuses[int(status)]; }
const char *nameOf(TrialStage stage) { return kStages[int(stage)]; }

static Status damaged(const std::string &why) { return Status(Code::Integrity, why); }

static std::string dump(const json &value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

static json parseObject(std::string_view text) {
  if (isNestedDeeperThan(text, 16))
    return json();
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_object() ? value : json();
}

Expected<std::string> canonicalJson(std::string_view text) {
  json value = parseObject(text);
  if (!value.is_object())
    return damaged("a JSON object is expected");
  return dump(value);
}

//===----------------------------------------------------------------------===//
// Problems
//===----------------------------------------------------------------------===//

/// Lengths are sizes: positive, and small enough to be added up.
static bool isLength(const json &value) {
  return value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() <= int64_t(1) << 40;
}

static Expected<Problem> readProblem(json value) {
  if (!value.is_object() || !value.contains("op") || !value["op"].is_string())
    return damaged("a problem is an object with the operation's name in 'op'");
  Problem problem;
  problem.key = dump(value);
  auto takeLength = [&problem](json &length) {
    problem.lengths.push_back(length.get<int64_t>());
    length = 0;
  };
  auto operands = value.find("operands");
  if (operands == value.end() || !operands->is_array())
    return damaged("a problem lists its operands in 'operands'");
  for (json &operand : *operands) {
    auto shape = operand.is_object() ? operand.find("shape") : operand.end();
    if (!operand.is_object() || shape == operand.end() || !shape->is_array() || !operand.contains("dtype") ||
        !operand["dtype"].is_string())
      return damaged("an operand of a problem has a 'dtype' and a 'shape'");
    for (const json &size : *shape)
      if (!isLength(size))
        return damaged("a size of a problem's operand is " + dump(size));
    if (shape->size() >= 3)
      takeLength((*shape)[2]);
  }
  auto attributes = value.find("attributes");
  if (attributes != value.end() && attributes->is_object() && attributes->contains("seq_len") &&
      isLength((*attributes)["seq_len"]))
    takeLength((*attributes)["seq_len"]);
  problem.family = dump(value);
  return problem;
}

Expected<Problem> parseProblem(std::string_view text) { return readProblem(parseObject(text)); }

std::string describe(const Problem &problem) {
  json value = parseObject(problem.key);
  if (!value.is_object())
    return problem.key;
  std::string text = value["op"].get<std::string>(), dtype;
  for (const json &operand : value["operands"]) {
    bool first = dtype.empty();
    std::string type = operand["dtype"].get<std::string>();
    text += first || type != dtype ? (first ? " " : ", ") + type + " " : std::string(", ");
    dtype = type;
    std::string shape;
    for (const json &size : operand["shape"])
      shape += (shape.empty() ? "" : "x") + dump(size);
    text += shape;
  }
  for (const auto &[name, attribute] : value["attributes"].items())
    if (attribute == true)
      text += " " + name;
  return text;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

/// What `value` has and `known` has not, in the objects of both, too.
static json findUnknown(const json &value, const json &known) {
  json rest = json::object();
  for (const auto &[key, member] : value.items()) {
    auto found = known.find(key);
    if (found == known.end())
      rest[key] = member;
    else if (json inner; member.is_object() && found->is_object() && !(inner = findUnknown(member, *found)).empty())
      rest[key] = std::move(inner);
  }
  return rest;
}

/// Puts what findUnknown found back.
static void addUnknown(json &value, const json &rest) {
  for (const auto &[key, member] : rest.items())
    if (value.contains(key) && value[key].is_object() && member.is_object())
      addUnknown(value[key], member);
    else if (!value.contains(key))
      value[key] = member;
}

static json toValue(const Record &record) {
  const Trial &trial = record.trial;
  json value = {{"schema", kTuningSchema},
                {"type", kKinds[int(record.kind)]},
                {"run", trial.run},
                {"problem", parseObject(trial.problem.key)},
                {"device",
                 {{"name", trial.device.name},
                  {"compute", trial.device.compute},
                  {"multiprocessors", trial.device.multiprocessors}}},
                {"kernel", trial.kernel},
                {"schedule", parseObject(trial.schedule)}};
  if (record.kind != RecordKind::Trial)
    return value;
  value["status"] = nameOf(trial.status);
  value["stage"] = nameOf(trial.stage);
  value["compiler"] = trial.compiler;
  if (!trial.build.empty())
    value["build"] = trial.build;
  if (!trial.target.empty())
    value["target"] = trial.target;
  if (trial.status != TrialStatus::Ok) {
    value["reason"] = trial.reason;
    return value;
  }
  value["baseline"] = parseObject(trial.baseline);
  value["verified"] = {{"oracle", trial.verified.oracle}, {"baseline", trial.verified.baseline}};
  value["us"] = {{"median", trial.us.median},
                 {"p20", trial.us.p20},
                 {"p80", trial.us.p80},
                 {"count", trial.us.count},
                 {"relative", trial.us.relative}};
  value["clock"] = {{"low_mhz", trial.clockLow}, {"high_mhz", trial.clockHigh}, {"throttled_rounds", trial.throttled}};
  return value;
}

std::string toJson(const Record &record) {
  json value = toValue(record);
  if (!record.trial.unknown.empty())
    addUnknown(value, parseObject(record.trial.unknown));
  return dump(value);
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

namespace {
/// Reads members; the first problem is kept and what follows is skipped.
class Reader {
public:
  const json &member(const json &object, const char *key) {
    static const json nothing;
    auto found = object.is_object() ? object.find(key) : object.end();
    if (!object.is_object() || found == object.end()) {
      fail(std::string("'") + key + "' is missing");
      return nothing;
    }
    return *found;
  }
  std::string text(const json &object, const char *key) {
    const json &value = member(object, key);
    if (!value.is_string())
      fail(std::string("'") + key + "' is not a string");
    return value.is_string() ? value.get<std::string>() : "";
  }
  double number(const json &object, const char *key, double low) {
    const json &value = member(object, key);
    double number = value.is_number() ? value.get<double>() : low - 1;
    if (!value.is_number() || !std::isfinite(number) || number < low)
      fail(std::string("'") + key + "' is not a number of at least " + dump(json(low)));
    return number;
  }
  int64_t integer(const json &object, const char *key, double most = 9e15) {
    double value = number(object, key, 0);
    if (value > most || value != std::floor(value))
      fail(std::string("'") + key + "' is not an integer of at most " + dump(json(most)));
    return error.empty() ? int64_t(value) : 0;
  }
  std::string object(const json &parent, const char *key) {
    const json &value = member(parent, key);
    if (!value.is_object())
      fail(std::string("'") + key + "' is not an object");
    return value.is_object() ? dump(value) : "{}";
  }
  template <size_t Count>
  int choice(const json &object, const char *key, const char *const (&names)[Count]) {
    std::string name = text(object, key);
    for (size_t i = 0; i < Count; ++i)
      if (name == names[i])
        return int(i);
    fail(std::string("'") + key + "' is '" + name + "', which this version does not know");
    return 0;
  }
  void fail(const std::string &what) {
    if (error.empty())
      error = what;
  }

  std::string error;
};
} // namespace

static void readOutcome(Reader &reader, const json &value, Trial &trial) {
  trial.status = TrialStatus(reader.choice(value, "status", kStatuses));
  trial.stage = TrialStage(reader.choice(value, "stage", kStages));
  trial.compiler = reader.text(value, "compiler");
  for (auto [key, text] : {std::pair("build", &trial.build), {"target", &trial.target}})
    if (value.contains(key))
      *text = reader.text(value, key);
  if (trial.status != TrialStatus::Ok) {
    trial.reason = reader.text(value, "reason");
    return;
  }
  trial.baseline = reader.object(value, "baseline");
  const json &verified = reader.member(value, "verified");
  trial.verified = {reader.number(verified, "oracle", -1), reader.number(verified, "baseline", -1)};
  const json &us = reader.member(value, "us");
  trial.us = {reader.number(us, "median", 0), reader.number(us, "p20", 0), reader.number(us, "p80", 0),
              reader.integer(us, "count"), reader.number(us, "relative", 0)};
  const json &clock = reader.member(value, "clock");
  trial.clockLow = reader.integer(clock, "low_mhz");
  trial.clockHigh = reader.integer(clock, "high_mhz");
  trial.throttled = reader.integer(clock, "throttled_rounds");
  // A time of 0, or one that nothing was compared before, would win every choice.
  if (trial.us.median <= 0 || trial.us.relative <= 0 || trial.us.count < 1)
    reader.fail("'us' has a time of zero or no samples");
  if (trial.verified.oracle < 0 && trial.verified.baseline < 0)
    reader.fail("'status' is ok, but nothing was verified");
}

Expected<Record> parseRecord(std::string_view line) {
  json value = parseObject(line);
  if (!value.is_object())
    return damaged("not a JSON object");
  Reader reader;
  std::string schema = reader.text(value, "schema");
  if (schema != kTuningSchema)
    return Status(Code::Unsupported, "schema '" + schema + "' is not " + kTuningSchema);
  Record record;
  Trial &trial = record.trial;
  record.kind = RecordKind(reader.choice(value, "type", kKinds));
  trial.run = reader.text(value, "run");
  Expected<Problem> problem = readProblem(reader.member(value, "problem"));
  if (!problem)
    return problem.status();
  trial.problem = std::move(*problem);
  const json &device = reader.member(value, "device");
  trial.device = {reader.text(device, "name"), int(reader.integer(device, "compute", 1e6)),
                  int(reader.integer(device, "multiprocessors", 1e6))};
  trial.kernel = reader.text(value, "kernel");
  trial.schedule = reader.object(value, "schedule");
  if (record.kind == RecordKind::Trial)
    readOutcome(reader, value, trial);
  if (!reader.error.empty())
    return damaged(reader.error);
  if (json unknown = findUnknown(value, toValue(record)); !unknown.empty())
    trial.unknown = dump(unknown);
  return record;
}

} // namespace fresnel::rt
