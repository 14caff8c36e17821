//===- Safetensors.cpp - The safetensors container
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/Safetensors.h"
#include "fresnel/Artifact/File.h"
#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

using nlohmann::json;

namespace fresnel::rt {

static constexpr uint64_t kMaxHeader = 100u << 20;
static constexpr std::pair<const char *, DType> kTypes[] = {
    {"F32", DType::F32}, {"BF16", DType::BF16}, {"F16", DType::F16}, {"I32", DType::I32},
    {"I8", DType::I8},   {"U8", DType::I8},     {"BOOL", DType::I8}};

int64_t NamedTensor::elements() const {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

Expected<Safetensors> readSafetensors(const std::string &path) {
  Expected<std::string> content = readFile(path);
  if (!content)
    return content.status();
  return parseSafetensors(path, *content);
}

namespace {
struct Range {
  uint64_t begin, end;
};
} // namespace

/// One header entry, checked against the data it points to.
static Status parseEntry(const std::string &name, const json &entry, std::string_view data, NamedTensor &tensor,
                         Range &range) {
  auto refuse = [&](const std::string &why) { return Status(Code::Integrity, "tensor '" + name + "' " + why); };
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() || !entry.contains("shape") ||
      !entry["shape"].is_array() || !entry.contains("data_offsets") || !entry["data_offsets"].is_array() ||
      entry["data_offsets"].size() != 2)
    return refuse("has a malformed header entry");
  std::string dtype = entry["dtype"].get<std::string>();
  auto known = std::find_if(std::begin(kTypes), std::end(kTypes), [&](auto &type) { return dtype == type.first; });
  if (known == std::end(kTypes))
    return Status(Code::Unsupported,
                  "tensor '" + name + "' has dtype " + dtype + "; F32, BF16, F16, I32, I8, U8 and BOOL are read");
  tensor.dtype = known->second;
  uint64_t bytes = uint64_t(sizeOf(tensor.dtype));
  for (const json &size : entry["shape"]) {
    if (!size.is_number_unsigned() || size.get<uint64_t>() > (uint64_t(1) << 40) ||
        (size.get<uint64_t>() != 0 && bytes > (uint64_t(1) << 46) / size.get<uint64_t>()))
      return refuse("has an impossible shape");
    bytes *= size.get<uint64_t>();
    tensor.shape.push_back(size.get<int64_t>());
  }
  const json &offsets = entry["data_offsets"];
  if (!offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    return refuse("has malformed data offsets");
  range = {offsets[0].get<uint64_t>(), offsets[1].get<uint64_t>()};
  if (range.begin > range.end || range.end > data.size())
    return refuse("ends at byte " + std::to_string(range.end) + " of " + std::to_string(data.size()) +
                  "; the file is truncated or damaged");
  if (range.end - range.begin != bytes)
    return refuse("holds " + std::to_string(range.end - range.begin) + " bytes, but its shape needs " +
                  std::to_string(bytes));
  tensor.data = std::string(data.substr(range.begin, bytes));
  return Status();
}

Expected<Safetensors> parseSafetensors(const std::string &name, std::string_view content) {
  auto refuse = [&](const std::string &why) {
    return Status(Code::Integrity, "safetensors file '" + name + "' " + why);
  };
  if (content.size() < 8)
    return refuse("is truncated: " + std::to_string(content.size()) + " bytes");
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i)
    length = length << 8 | uint8_t(content[size_t(i)]);
  if (length > kMaxHeader || length > content.size() - 8)
    return refuse("is truncated or not a safetensors file: its header would have " + std::to_string(length) + " bytes");
  if (isNestedDeeperThan(content.substr(8, length), 32))
    return refuse("has a header that is nested more than 32 deep");
  json header = json::parse(content.substr(8, length), nullptr, /*allow_exceptions=*/false);
  if (!header.is_object())
    return refuse("has a header that is not a JSON object");
  std::string_view data = content.substr(8 + length);
  Safetensors file;
  std::vector<Range> ranges;
  for (auto &[key, entry] : header.items()) {
    if (key == "__metadata__") {
      if (!entry.is_object())
        return refuse("has a `__metadata__` that is not an object");
      for (auto &[metaKey, value] : entry.items()) {
        if (!value.is_string())
          return refuse("has a `__metadata__` entry '" + metaKey + "' that is not a string");
        file.metadata[metaKey] = value.get<std::string>();
      }
      continue;
    }
    Range range{};
    Status status = parseEntry(key, entry, data, file.tensors[key], range);
    if (!status.ok())
      return status.annotate("safetensors file '" + name + "'");
    ranges.push_back(range);
  }
  // Tensors without elements begin where the next one does.
  std::sort(ranges.begin(), ranges.end(),
            [](Range a, Range b) { return std::tie(a.begin, a.end) < std::tie(b.begin, b.end); });
  uint64_t end = 0;
  for (Range range : ranges) {
    if (range.begin != end)
      return refuse("has tensors that overlap or leave gaps at byte " + std::to_string(end));
    end = range.end;
  }
  if (end != data.size())
    return refuse("has " + std::to_string(data.size() - end) + " bytes that belong to no tensor");
  return file;
}

Status writeSafetensors(const std::string &path, const Safetensors &file) {
  json header = json::object();
  if (!file.metadata.empty())
    header["__metadata__"] = file.metadata;
  uint64_t offset = 0;
  std::vector<std::string_view> parts(2);
  for (auto &[name, tensor] : file.tensors) {
    if (tensor.elements() * sizeOf(tensor.dtype) != int64_t(tensor.data.size()))
      return Status(Code::InvalidArgument, "tensor '" + name + "' holds " + std::to_string(tensor.data.size()) +
                                               " bytes, but its shape needs " +
                                               std::to_string(tensor.elements() * sizeOf(tensor.dtype)));
    const char *dtype = "";
    for (auto &[text, type] : kTypes)
      if (type == tensor.dtype)
        dtype = text;
    header[name] = {{"dtype", dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.data.size()}}};
    offset += tensor.data.size();
    parts.push_back(tensor.data);
  }
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length;
  for (int i = 0; i < 8; ++i)
    length += char(uint64_t(text.size()) >> (8 * i));
  parts[0] = length;
  parts[1] = text;
  return writeFileAtomically(path, parts);
}

} // namespace fresnel::rt
