//===- Presets.cpp - fresnel presets ----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "fresnel/Presets/Presets.h"
#include "Commands.h"
#include "Common.h"

#include <iostream>

namespace fresnel::tool {

static std::string rangeText(const PresetParam &param) {
  auto number = [](double value) {
    std::string text = std::to_string(value);
    text.erase(text.find_last_not_of('0') + 1);
    return text.back() == '.' ? text.substr(0, text.size() - 1) : text;
  };
  switch (param.type) {
  case ParamType::Bool:
    return "true, false";
  case ParamType::Choice: {
    std::string text;
    for (const std::string &choice : param.choices)
      text += (text.empty() ? "" : ", ") + choice;
    return text;
  }
  case ParamType::Lengths:
    return "0 .. 2147483647 each";
  default:
    return number(param.min) + " .. " + number(param.max);
  }
}

static const char *typeText(ParamType type) {
  static const char *names[] = {"int", "float", "bool", "choice", "lengths"};
  return names[int(type)];
}

static Json toJson(const Preset &preset) {
  Json params = Json::array();
  for (const PresetParam &param : preset.params)
    params.push_back({{"name", param.name},
                      {"type", typeText(param.type)},
                      {"default", param.defaultValue},
                      {"range", rangeText(param)},
                      {"meaning", param.meaning}});
  return {{"name", preset.name}, {"summary", preset.summary}, {"paper", preset.paper}, {"parameters", params}};
}

static void print(const Preset &preset) {
  std::cout << preset.name << " - " << preset.summary << "\n  " << preset.paper << "\n";
  std::vector<std::vector<std::string>> rows = {{"parameter", "type", "default", "range", "meaning"}};
  for (const PresetParam &param : preset.params)
    rows.push_back({param.name, typeText(param.type), param.defaultValue, rangeText(param), param.meaning});
  std::cout << formatTable(rows) << "\n";
}

static int presetsCommand(const std::string &name, bool json) {
  std::vector<Preset> shown(getPresets().begin(), getPresets().end());
  if (!name.empty()) {
    const Preset *preset = findPreset(name);
    std::vector<std::string> names;
    for (const Preset &known : getPresets())
      names.push_back(known.name);
    if (!preset)
      fail(ExitUsage, "unknown preset '" + name + "'", suggestion(name, names));
    shown = {*preset};
  }
  if (json) {
    Json list = Json::array();
    for (const Preset &preset : shown)
      list.push_back(toJson(preset));
    printJson("fresnel.presets/1", {{"ok", true}, {"presets", list}});
    return ExitOk;
  }
  for (const Preset &preset : shown)
    print(preset);
  return ExitOk;
}

void addPresetsCommand(CLI::App &app, Action &action) {
  auto name = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  CLI::App *command = app.add_subcommand("presets", "List the presets with their parameters, defaults and papers");
  command->add_option("PRESET", *name, "show only this one");
  command->add_flag("--json", *json, "print one JSON document");
  command->callback([&action, name, json] { action = [name, json] { return presetsCommand(*name, *json); }; });
}

} // namespace fresnel::tool
