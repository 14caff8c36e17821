//===- Presets.cpp - Methods as program templates with checked parameters
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Presets/Presets.h"
#include "PresetTexts.h"
#include "fresnel/Dialect/CascadeShape.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>
#include <cstdio>

using namespace fresnel;
using llvm::StringRef;

//===----------------------------------------------------------------------===//
// Reading the templates
//===----------------------------------------------------------------------===//

static PresetParam parseParam(StringRef text) {
  auto [declaration, meaning] = text.split(" : ");
  llvm::SmallVector<StringRef> words;
  declaration.split(words, ' ', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  PresetParam param;
  param.name = words[0].str();
  param.defaultValue = words[2].str();
  param.meaning = meaning.trim().str();
  if (words[1] == "bool") {
    param.type = ParamType::Bool;
  } else if (words[1] == "lengths") {
    param.type = ParamType::Lengths;
  } else if (words[1] == "choice") {
    param.type = ParamType::Choice;
    for (StringRef choice : llvm::split(words[3], ','))
      param.choices.push_back(choice.str());
  } else {
    param.type = words[1] == "int" ? ParamType::Int : ParamType::Float;
    words[3].getAsDouble(param.min);
    words[4].getAsDouble(param.max);
  }
  return param;
}

static PresetDerived parseDerived(StringRef text) {
  auto [name, call] = text.split(" = ");
  auto [function, arguments] = call.rtrim(')').split('(');
  PresetDerived derived{name.str(), function.str(), {}};
  for (StringRef argument : llvm::split(arguments, ','))
    derived.arguments.push_back(argument.trim().str());
  return derived;
}

static std::pair<std::string, std::string> parseHint(StringRef text) {
  auto [name, hint] = text.split(" : ");
  return {name.str(), hint.trim().str()};
}

static Preset parsePreset(StringRef name, StringRef text) {
  Preset preset;
  preset.name = name.str();
  while (text.starts_with("// ")) {
    auto [line, rest] = text.split('\n');
    line = line.drop_front(3);
    if (line.consume_front("summary: "))
      preset.summary = line.str();
    else if (line.consume_front("paper: "))
      preset.paper = line.str();
    else if (line.consume_front("param "))
      preset.params.push_back(parseParam(line));
    else if (line.consume_front("hint "))
      preset.hints.insert(parseHint(line));
    else if (line.consume_front("derive "))
      preset.derived.push_back(parseDerived(line));
    text = rest;
  }
  preset.body = text.str();
  return preset;
}

llvm::ArrayRef<Preset> fresnel::getPresets() {
  static const std::vector<Preset> presets = [] {
    std::vector<Preset> all;
    for (const PresetText &preset : kPresetTexts)
      all.push_back(parsePreset(preset.name, preset.text));
    return all;
  }();
  return presets;
}

const Preset *fresnel::findPreset(StringRef name) {
  for (const Preset &preset : getPresets())
    if (preset.name == name)
      return &preset;
  return nullptr;
}

const PresetParam *Preset::findParam(StringRef paramName) const {
  for (const PresetParam &param : params)
    if (param.name == paramName)
      return &param;
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Parameters
//===----------------------------------------------------------------------===//

/// What the preset has to say of a name that it does not know, or the closest one that it does.
static std::string suggest(const Preset &preset, StringRef name) {
  if (auto hint = preset.hints.find(name.str()); hint != preset.hints.end())
    return "; " + hint->second;
  const PresetParam *best = nullptr;
  for (const PresetParam &param : preset.params)
    if (!best || name.edit_distance(param.name) < name.edit_distance(best->name))
      best = &param;
  if (best && name.edit_distance(best->name) <= 3)
    return "; did you mean '" + best->name + "'?";
  return "; fresnel presets " + preset.name + " lists them";
}

static llvm::Expected<std::string> checkNumber(const PresetParam &param, StringRef value) {
  double number = 0;
  int64_t integer = 0;
  bool isInt = param.type == ParamType::Int;
  if (isInt ? value.getAsInteger(10, integer) : value.getAsDouble(number))
    return llvm::createStringError("parameter '" + param.name + "' takes " + (isInt ? "an integer" : "a number") +
                                   ", but got '" + value.str() + "'");
  if (isInt)
    number = double(integer);
  if (!(number >= param.min && number <= param.max)) {
    char range[64];
    std::snprintf(range, sizeof range, "[%.15g, %.15g]", param.min, param.max);
    return llvm::createStringError("parameter '" + param.name + "' must be in " + range + ", but got " + value.str());
  }
  // MLIR tells a float from an integer by its point.
  return isInt ? std::to_string(integer) : llvm::formatv("{0:E}", number).str();
}

/// What a list of lengths holds; fails where it is none.
static llvm::Expected<llvm::SmallVector<int64_t>> parseLengths(StringRef name, StringRef text) {
  llvm::SmallVector<int64_t> lengths;
  for (StringRef part : llvm::split(text, ',')) {
    int64_t length = 0;
    if (part.getAsInteger(10, length) || length < 0 || length > INT32_MAX)
      return llvm::createStringError("parameter '" + name +
                                     "' takes lengths from 0 to 2147483647 with commas between "
                                     "them, but got '" +
                                     part + "' in '" + text + "'");
    lengths.push_back(length);
  }
  return lengths;
}

static llvm::Expected<std::string> checkValue(const PresetParam &param, StringRef value) {
  switch (param.type) {
  case ParamType::Int:
  case ParamType::Float:
    return checkNumber(param, value);
  case ParamType::Lengths:
    if (llvm::Error error = parseLengths(param.name, value).takeError())
      return error;
    return value.str();
  case ParamType::Bool:
    if (value == "true" || value == "1")
      return std::string("true");
    if (value == "false" || value == "0")
      return std::string("false");
    return llvm::createStringError("parameter '" + param.name + "' takes true or false, but got '" + value.str() + "'");
  case ParamType::Choice:
    if (llvm::is_contained(param.choices, value))
      return value.str();
    return llvm::createStringError("parameter '" + param.name + "' takes one of " + llvm::join(param.choices, ", ") +
                                   ", but got '" + value.str() + "'");
  }
  llvm_unreachable("unknown parameter type");
}

/// Heads must fit each other.
static llvm::Error checkHeads(const std::map<std::string, std::string> &resolved) {
  auto read = [&](const char *name) {
    int64_t count = 0;
    if (auto found = resolved.find(name); found != resolved.end())
      StringRef(found->second).getAsInteger(10, count);
    return count;
  };
  int64_t heads = read("heads"), kvHeads = read("kv_heads"), maskHeads = read("mask_heads");
  if (kvHeads && heads % kvHeads)
    return llvm::createStringError(llvm::formatv(
        "parameter 'kv_heads' must divide 'heads', but {0} heads are no multiple of {1}", heads, kvHeads));
  if (maskHeads && (heads % maskHeads || maskHeads % kvHeads))
    return llvm::createStringError(llvm::formatv(
        "parameter 'mask_heads' must divide 'heads' and be a multiple of 'kv_heads', but it is {0} beside "
        "{1} and {2}; 0 stands for 'heads'",
        maskHeads, heads, kvHeads));
  return llvm::Error::success();
}

llvm::Expected<std::map<std::string, std::string>>
fresnel::resolveParams(const Preset &preset, const std::map<std::string, std::string> &values) {
  for (const auto &[name, value] : values)
    if (!preset.findParam(name))
      return llvm::createStringError("preset '" + preset.name + "' has no parameter '" + name + "'" +
                                     suggest(preset, name));
  std::map<std::string, std::string> resolved;
  for (const PresetParam &param : preset.params) {
    auto found = values.find(param.name);
    llvm::Expected<std::string> value = checkValue(param, found == values.end() ? param.defaultValue : found->second);
    if (!value)
      return value.takeError();
    resolved[param.name] = *value;
  }
  if (llvm::Error error = checkHeads(resolved))
    return error;
  return resolved;
}

//===----------------------------------------------------------------------===//
// Derived sizes
//===----------------------------------------------------------------------===//

/// The tokens of all documents, `most` at most, which a length that is not 0 must agree with.
static llvm::Expected<std::string> sumDocuments(int64_t length, llvm::ArrayRef<int64_t> documents, int64_t most) {
  int64_t sum = 0;
  for (int64_t tokens : documents)
    sum += tokens;
  if (sum == 0)
    return llvm::createStringError("'documents' hold no token");
  if (sum > most)
    return llvm::createStringError(llvm::formatv("'documents' sum to {0} tokens, but {1} is the most", sum, most));
  if (length && sum != length)
    return llvm::createStringError(
        llvm::formatv("'documents' sum to {0} tokens, but 'seq_len' is {1}; change one of them", sum, length));
  return std::to_string(sum);
}

static llvm::Expected<std::string> evaluate(const Preset &preset, const PresetDerived &derived,
                                            const std::map<std::string, std::string> &known) {
  llvm::SmallVector<int64_t> n;
  llvm::SmallVector<double> x;
  for (const std::string &argument : derived.arguments) {
    double value = 0;
    if (StringRef text = known.at(argument); text.getAsDouble(value))
      value = text == "true";
    x.push_back(value);
    n.push_back(int64_t(value));
  }
  StringRef function = derived.function;
  llvm::SmallVector<int64_t> documents;
  if (auto at = llvm::find(derived.arguments, "documents"); at != derived.arguments.end())
    documents = llvm::cantFail(parseLengths(*at, known.at(*at)));
  if (function == "total")
    return sumDocuments(n[0], documents, int64_t(preset.findParam("seq_len")->max));
  if (function == "or")
    return std::to_string(n[0] ? n[0] : n[1]);
  if (function == "choose")
    return std::to_string(n[0] ? n[1] : n[2]);
  if (function == "next")
    return std::to_string(n[0] + 1);
  if (function == "scale")
    return llvm::formatv("{0:E}", x[0] != 0 ? x[0] : 1 / std::sqrt(x[1])).str();
  if (function == "min")
    return std::to_string(std::min(n[0], n[1]));
  if (function == "ceildiv")
    return std::to_string(llvm::divideCeil(n[0], n[1]));
  if (function == "product")
    return std::to_string(n[0] * n[1]);
  // Those of fresnel.align_documents.
  if (function == "places") {
    int64_t count = std::min(n[1] + 2, n[0]), blocks = (n[0] + count * (n[2] - 1)) / n[2];
    return std::to_string(blocks * n[2]);
  }
  if (function == "aligned") {
    int64_t places = 0;
    for (int64_t tokens : documents)
      places += llvm::alignTo(tokens, n[1]);
    return std::to_string(places);
  }
  if (function == "windows") {
    if (n[0] < n[1])
      return llvm::createStringError(
          llvm::formatv("{0} {1} holds no window of {2} tokens; lower 'window'",
                        derived.arguments[0] == "seq_len" ? "'seq_len'" : "the documents' room of", n[0], n[1]));
    if (n[2] > n[1] || n[1] % n[2])
      return llvm::createStringError(llvm::formatv("'stride' {0} must divide 'window' {1}", n[2], n[1]));
    return std::to_string((n[0] - n[1]) / n[2] + 1);
  }
  if (std::pow(double(n[2]), double(n[1] - 1)) > INT32_MAX)
    return llvm::createStringError(
        llvm::formatv("{0} levels of factor {1} pool more than 2147483647 tokens into one", n[1], n[2]));
  if (function == "pyramid")
    return std::to_string(PyramidShape(n[0], n[1], n[2], documents).length);
  if (function == "cascades")
    return llvm::join(llvm::map_range(documents,
                                      [&](int64_t tokens) {
                                        return std::to_string(tokens ? CascadeShape(tokens, n[1], n[2], n[3]).length
                                                                     : 0);
                                      }),
                      ",");
  assert(function == "cascade" && "a preset derives a size by an unknown function");
  return std::to_string(CascadeShape(n[0], n[1], n[2], n[3], documents).length);
}

llvm::Expected<std::string> fresnel::instantiate(const Preset &preset,
                                                 const std::map<std::string, std::string> &values) {
  llvm::Expected<std::map<std::string, std::string>> resolved = resolveParams(preset, values);
  if (!resolved)
    return resolved.takeError();
  for (const PresetDerived &derived : preset.derived) {
    llvm::Expected<std::string> value = evaluate(preset, derived, *resolved);
    if (!value)
      return value.takeError();
    (*resolved)[derived.name] = *value;
  }
  std::string text;
  StringRef rest = preset.body;
  while (!rest.empty()) {
    auto [plain, after] = rest.split("${");
    text += plain;
    auto [name, next] = after.split('}');
    if (!after.empty())
      text += resolved->at(name.str());
    rest = next;
  }
  return text;
}
