//===- Presets.h - Methods as program templates with checked parameters
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A preset is an .mlir file of this folder. Its leading comment lines declare it:
//
//   // summary: one line
//   // paper: title and where
//   // param NAME int DEFAULT MIN MAX : meaning      (also float)
//   // param NAME bool DEFAULT : meaning
//   // param NAME choice DEFAULT A,B,C : meaning
//   // param NAME lengths DEFAULT : meaning             (comma-separated, 0 among them)
//   // hint NAME : what to say to someone who sets NAME, which the preset does not have
//   // derive NAME = FUNCTION(ARGUMENT, ...)
//
// and its body holds ${NAME} where a parameter or a derived size goes.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_PRESETS_PRESETS_H
#define FRESNEL_PRESETS_PRESETS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <map>
#include <string>
#include <vector>

namespace fresnel {

enum class ParamType { Int, Float, Bool, Choice, Lengths };

struct PresetParam {
  std::string name;
  ParamType type;
  std::string defaultValue;
  /// Int and Float.
  double min = 0, max = 0;
  /// Choice.
  std::vector<std::string> choices;
  std::string meaning;
};

struct PresetDerived {
  std::string name, function;
  std::vector<std::string> arguments;
};

struct Preset {
  std::string name, summary, paper;
  std::vector<PresetParam> params;
  /// By the name of a parameter that the preset does not have.
  std::map<std::string, std::string> hints;
  std::vector<PresetDerived> derived;
  std::string body;

  const PresetParam *findParam(llvm::StringRef paramName) const;
};

/// All presets, by name. Thread-safe.
llvm::ArrayRef<Preset> getPresets();
/// Null when there is none of that name.
const Preset *findPreset(llvm::StringRef name);

/// All parameters with their values: the defaults and what `values` sets. Unknown
/// names, malformed values and values out of range are errors that say what is allowed.
llvm::Expected<std::map<std::string, std::string>> resolveParams(const Preset &preset,
                                                                 const std::map<std::string, std::string> &values);

/// The program's text for resolved parameters.
llvm::Expected<std::string> instantiate(const Preset &preset, const std::map<std::string, std::string> &values);

} // namespace fresnel

#endif // FRESNEL_PRESETS_PRESETS_H
