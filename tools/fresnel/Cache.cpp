//===- Cache.cpp - fresnel cache: the kernels on disk ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Commands.h"
#include "Common.h"
#include "Options.h"

#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Artifact/KernelCache.h"

#include <ctime>
#include <iostream>

namespace fresnel::tool {

namespace {
struct CacheArguments {
  double days = 0;
  bool json = false;
};
} // namespace

static const char *kSchema = "fresnel.cache/1";
/// A century; many more would not fit into seconds.
static constexpr double kMostDays = 36500;

static rt::KernelCache openCache() {
  rt::Expected<rt::KernelCache> cache = rt::KernelCache::open(rt::KernelCache::defaultFolder());
  if (!cache)
    fail(ExitEnvironment, cache.status().message());
  return std::move(*cache);
}

static std::vector<rt::CacheEntry> listEntries(const rt::KernelCache &cache) {
  rt::Expected<std::vector<rt::CacheEntry>> entries = cache.list();
  if (!entries)
    fail(ExitEnvironment, entries.status().message());
  return std::move(*entries);
}

static std::string dateText(int64_t seconds) {
  std::time_t time = std::time_t(seconds);
  std::tm parts{};
  char text[32] = "-";
  if (gmtime_r(&time, &parts))
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
  return text;
}

/// Method, target and parameters of a bundle; of a damaged one what is wrong with it.
static Json describeEntry(const rt::CacheEntry &entry) {
  Json row = {{"key", entry.key}, {"bytes", entry.bytes}, {"made", entry.made}};
  rt::Expected<rt::Bundle> bundle = rt::readBundle(entry.path);
  if (!bundle) {
    row["damaged"] = bundle.status().message();
    return row;
  }
  row["method"] = bundle->manifest.name;
  row["target"] = bundle->manifest.target.name;
  row["gradients"] = bundle->manifest.backward.has_value();
  row["parameters"] = Json::parse(bundle->manifest.parameters, nullptr, false);
  return row;
}

static int listCommand(bool json) {
  rt::KernelCache cache = openCache();
  Json entries = Json::array();
  for (const rt::CacheEntry &entry : listEntries(cache))
    entries.push_back(describeEntry(entry));
  if (json) {
    printJson(kSchema, {{"ok", true}, {"folder", cache.folder()}, {"entries", entries}});
    return ExitOk;
  }
  std::vector<std::vector<std::string>> rows = {{"key", "size", "made (UTC)", "method", "target", "parameters"}};
  for (const Json &entry : entries) {
    std::string parameters;
    const Json values = entry.value("parameters", Json::object());
    for (const auto &[name, value] : values.items())
      parameters += (parameters.empty() ? "" : " ") + name + "=" + (value.is_string() ? value.get<std::string>() : "?");
    if (entry.value("gradients", false))
      parameters += (parameters.empty() ? "" : " ") + std::string("with gradients");
    rows.push_back({entry["key"].get<std::string>().substr(0, 16), formatBytes(entry["bytes"].get<uint64_t>()),
                    dateText(entry["made"].get<int64_t>()), entry.value("method", "-"), entry.value("target", "-"),
                    entry.value("damaged", parameters)});
  }
  std::cout << formatTable(rows);
  return ExitOk;
}

static int infoCommand(bool json) {
  rt::KernelCache cache = openCache();
  std::vector<rt::CacheEntry> entries = listEntries(cache);
  int64_t bytes = 0;
  for (const rt::CacheEntry &entry : entries)
    bytes += entry.bytes;
  if (json)
    printJson(kSchema, {{"ok", true}, {"folder", cache.folder()}, {"bundles", entries.size()}, {"bytes", bytes}});
  else
    std::cout << cache.folder() << "/kernels: " << formatCount(entries.size(), "bundle") << ", "
              << formatBytes(uint64_t(bytes)) << "\n";
  return ExitOk;
}

static int cleanCommand(const CacheArguments &arguments) {
  rt::KernelCache cache = openCache();
  // Everything, made this very second too, unless an age is given.
  int64_t before = int64_t(std::time(nullptr)) + (arguments.days > 0 ? -int64_t(arguments.days * 24 * 3600) : 3600);
  rt::Expected<std::pair<size_t, int64_t>> removed = cache.clean(before);
  if (!removed)
    fail(ExitEnvironment, removed.status().message());
  if (arguments.json)
    printJson(kSchema,
              {{"ok", true}, {"folder", cache.folder()}, {"removed", removed->first}, {"bytes", removed->second}});
  else
    std::cout << "removed " << removed->first << (removed->first == 1 ? " entry, " : " entries, ")
              << formatBytes(uint64_t(removed->second)) << "\n";
  return ExitOk;
}

void addCacheCommand(CLI::App &app, Action &action) {
  auto arguments = std::make_shared<CacheArguments>();
  CLI::App *command = app.add_subcommand("cache", "Look at the kernel cache and clean it");
  command->require_subcommand(1);
  auto add = [&](const char *name, const char *text, auto run) {
    CLI::App *part = command->add_subcommand(name, text);
    part->add_flag("--json", arguments->json, "print one JSON document (schema fresnel.cache/1)");
    part->callback([&action, arguments, run] { action = [arguments, run] { return run(*arguments); }; });
    return part;
  };
  add("ls", "every entry: what it is and when it was made",
      [](const CacheArguments &a) { return listCommand(a.json); });
  add("info", "where the cache is, and how large", [](const CacheArguments &a) { return infoCommand(a.json); });
  add("clean", "remove entries; they are made again when they are needed", cleanCommand)
      ->add_option("--older-than", arguments->days, "only those made more than this many days ago")
      ->check(numberOf("days", 0, kMostDays));
}

} // namespace fresnel::tool
