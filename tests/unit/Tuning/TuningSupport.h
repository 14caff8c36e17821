//===- TuningSupport.h - Records for the tests of the tuning database
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TESTS_TUNINGSUPPORT_H
#define FRESNEL_TESTS_TUNINGSUPPORT_H

#include "fresnel/Tuning/Record.h"

namespace fresnel::rt {

inline std::string makeProblemText(int64_t length, const std::string &dtype = "bf16") {
  std::string shape = R"({"dtype":")" + dtype + R"(","shape":[1,8,)" + std::to_string(length) + ",128]}";
  return R"({"op":"fresnel.attend","operands":[)" + shape + "," + shape + R"(],"attributes":{"causal":true}})";
}

/// A trial that passed, in `median` microseconds, against a baseline of 100.
inline Record makeTrial(int64_t length, int tile, double median, TrialStage stage = TrialStage::Final) {
  Record record;
  record.trial.run = "run";
  record.trial.problem = *parseProblem(makeProblemText(length));
  record.trial.device = {"Fake GPU", 90, 132};
  record.trial.kernel = "hash" + std::to_string(tile);
  record.trial.schedule = R"({"tile_n":)" + std::to_string(tile) + "}";
  record.trial.baseline = R"({"tile_n":64})";
  record.trial.stage = stage;
  record.trial.verified = {0.002, 0.001};
  record.trial.us = {median, median, median, 20, median / 100};
  record.trial.compiler = "test";
  return record;
}

} // namespace fresnel::rt

#endif // FRESNEL_TESTS_TUNINGSUPPORT_H
