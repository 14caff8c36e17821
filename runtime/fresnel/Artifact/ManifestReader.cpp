//===- ManifestReader.cpp - The manifest from JSON, checked
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/File.h"
#include "fresnel/Artifact/Manifest.h"
#include "fresnel/Artifact/ManifestKinds.h"
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

using nlohmann::json;

namespace fresnel::rt {

namespace {

/// Reads typed members; the first problem is kept with its JSON pointer and
/// everything after it is skipped.
class Reader {
public:
  bool ok() const { return error.empty(); }
  const std::string &message() const { return error; }

  void fail(const std::string &where, const std::string &what) {
    if (ok())
      error = "manifest " + (where.empty() ? std::string("/") : where) + ": " + what;
  }

  const json &member(const json &object, const std::string &where, const char *key) {
    static const json nothing;
    if (!ok())
      return nothing;
    if (!object.is_object()) {
      fail(where, "an object is expected");
      return nothing;
    }
    auto found = object.find(key);
    if (found == object.end()) {
      fail(where, std::string("'") + key + "' is missing");
      return nothing;
    }
    return *found;
  }

  int64_t integer(const json &object, const std::string &where, const char *key, int64_t low,
                  int64_t high = std::numeric_limits<int64_t>::max()) {
    return integer(member(object, where, key), where + "/" + key, low, high);
  }

  int64_t integer(const json &value, const std::string &where, int64_t low, int64_t high) {
    if (!ok())
      return low;
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX))) {
      fail(where, "an integer is expected");
      return low;
    }
    int64_t number = value.get<int64_t>();
    if (number < low || number > high) {
      fail(where, std::to_string(number) + " is outside [" + std::to_string(low) + ", " + std::to_string(high) + "]");
      return low;
    }
    return number;
  }

  std::string text(const json &object, const std::string &where, const char *key, bool mayBeEmpty = false) {
    const json &value = member(object, where, key);
    if (!ok())
      return "";
    if (!value.is_string() || (!mayBeEmpty && value.get_ref<const std::string &>().empty())) {
      fail(where + "/" + key, "a string is expected");
      return "";
    }
    return value.get<std::string>();
  }

  /// The text of an object that is passed through unread.
  std::string object(const json &parent, const std::string &where, const char *key) {
    const json &value = member(parent, where, key);
    if (ok() && !value.is_object())
      fail(where + "/" + key, "an object is expected");
    return ok() ? value.dump() : "{}";
  }

  bool boolean(const json &object, const std::string &where, const char *key) {
    const json &value = member(object, where, key);
    if (ok() && !value.is_boolean())
      fail(where + "/" + key, "true or false is expected");
    return ok() && value.get<bool>();
  }

  std::vector<int64_t> integers(const json &object, const std::string &where, const char *key, int64_t low,
                                int64_t high, size_t most) {
    const json &value = member(object, where, key);
    std::vector<int64_t> numbers;
    if (!ok())
      return numbers;
    if (!value.is_array() || value.size() > most) {
      fail(where + "/" + key, "an array of at most " + std::to_string(most) + " integers is expected");
      return numbers;
    }
    for (size_t i = 0; i < value.size() && ok(); ++i)
      numbers.push_back(integer(value[i], where + "/" + key + "/" + std::to_string(i), low, high));
    return numbers;
  }

  template <typename Kinds>
  int kind(const json &object, const std::string &where, const char *key, const Kinds &names) {
    std::string name = text(object, where, key);
    for (size_t i = 0; i < std::size(names); ++i)
      if (name == names[i])
        return int(i);
    fail(where + "/" + key, "unknown kind '" + name + "'");
    return 0;
  }

  /// Calls `read(element, where)` for each element of an array member.
  template <typename Function>
  void forEach(const json &object, const std::string &where, const char *key, Function read) {
    const json &value = member(object, where, key);
    if (ok() && (!value.is_array() || value.size() > 65536))
      fail(where + "/" + key, "an array of at most 65536 entries is expected");
    for (size_t i = 0; ok() && i < value.size(); ++i)
      read(value[i], where + "/" + key + "/" + std::to_string(i));
  }

private:
  std::string error;
};

} // namespace

static constexpr int64_t kMaxBytes = int64_t(1) << 46;

/// `slices`, if it is there.
static Slices readSlices(Reader &reader, const json &value, const std::string &where) {
  if (!reader.ok() || !value.is_object() || !value.contains("slices"))
    return {1, 1};
  std::vector<int64_t> counts = reader.integers(value, where, "slices", 1, int64_t(1) << 31, 2);
  if (reader.ok() && counts.size() != 2)
    reader.fail(where + "/slices", "two integers are expected");
  return reader.ok() ? Slices{counts[0], counts[1]} : Slices{1, 1};
}

static Buffer readBuffer(Reader &reader, const json &value, const std::string &where) {
  Buffer buffer;
  buffer.name = reader.text(value, where, "name");
  buffer.kind = BufferKind(reader.kind(value, where, "kind", kBufferKinds));
  std::string dtype = reader.text(value, where, "dtype");
  if (auto parsed = parseDType(dtype))
    buffer.dtype = *parsed;
  else
    reader.fail(where + "/dtype", "unknown dtype '" + dtype + "'");
  buffer.shape = reader.integers(value, where, "shape", 1, int64_t(1) << 40, 8);
  double bytes = 4;
  for (int64_t size : buffer.shape)
    bytes *= double(size);
  if (bytes > double(kMaxBytes))
    reader.fail(where + "/shape", "the tensor is larger than 64 TiB");
  if (buffer.isInWorkspace())
    buffer.offset = reader.integer(value, where, "offset", 0, kMaxBytes);
  else if (value.is_object() && value.contains("saved_offset"))
    buffer.savedOffset = reader.integer(value, where, "saved_offset", 0, kMaxBytes);
  else
    buffer.slices = readSlices(reader, value, where);
  for (size_t dim = 0; reader.ok() && dim < buffer.slices.size(); ++dim)
    if (buffer.slices[dim] > 1 && (dim >= buffer.shape.size() || buffer.shape[dim] % buffer.slices[dim]))
      reader.fail(where + "/slices",
                  "dimension " + std::to_string(dim) + " cannot be cut into " + std::to_string(buffer.slices[dim]));
  return buffer;
}

static Param readParam(Reader &reader, const json &value, const std::string &where) {
  Param param;
  param.kind = ParamKind(reader.kind(value, where, "kind", kParamKinds));
  param.operand = reader.integer(value, where, "operand", 0, 255);
  if (param.kind == ParamKind::Stride)
    param.dim = reader.integer(value, where, "dim", 0, 7);
  if (param.kind == ParamKind::TensorMap) {
    std::vector<int64_t> box = reader.integers(value, where, "box", 1, 256, 3);
    if (reader.ok() && box.size() < 2)
      reader.fail(where + "/box", "two or three integers are expected");
    if (reader.ok()) {
      param.heads = box.size() == 3 ? box[0] : 1;
      param.rows = box[box.size() - 2];
      param.cols = box.back();
    }
    param.swizzle = reader.integer(value, where, "swizzle", 0, 128);
    if (param.swizzle != 0 && param.swizzle != 32 && param.swizzle != 64 && param.swizzle != 128)
      reader.fail(where + "/swizzle", std::to_string(param.swizzle) + " is not one of 0, 32, 64 and 128");
  }
  return param;
}

static std::array<int64_t, 3> readDims(Reader &reader, const json &value, const std::string &where, const char *key) {
  std::vector<int64_t> dims = reader.integers(value, where, key, 1, INT32_MAX, 3);
  if (reader.ok() && dims.size() != 3)
    reader.fail(where + "/" + key, "three integers are expected");
  return reader.ok() ? std::array<int64_t, 3>{dims[0], dims[1], dims[2]} : std::array<int64_t, 3>{1, 1, 1};
}

static Cost readCost(Reader &reader, const json &value, const std::string &where) {
  Cost cost;
  cost.bytesRead = reader.integer(value, where, "bytes_read", 0, kMaxBytes);
  cost.bytesWritten = reader.integer(value, where, "bytes_written", 0, kMaxBytes);
  cost.flops = reader.integer(value, where, "flops", 0);
  cost.exact = reader.boolean(value, where, "exact");
  return cost;
}

static Kernel readKernel(Reader &reader, const json &value, const std::string &where) {
  Kernel kernel;
  kernel.name = reader.text(value, where, "name");
  kernel.entry = reader.text(value, where, "entry");
  kernel.op = reader.text(value, where, "op");
  kernel.block = readDims(reader, value, where, "block");
  kernel.grid = readDims(reader, value, where, "grid");
  kernel.cluster = readDims(reader, value, where, "cluster");
  for (size_t dim = 0; reader.ok() && dim < 3; ++dim)
    if (kernel.grid[dim] % kernel.cluster[dim])
      reader.fail(where + "/cluster", "it must divide the grid");
  int64_t threads = 1;
  for (int64_t size : kernel.block)
    threads *= std::min<int64_t>(size, 2048);
  if (reader.ok() && threads > 1024)
    reader.fail(where + "/block", "a block has at most 1024 threads");
  kernel.sharedBytes = reader.integer(value, where, "shared_bytes", 0, 1 << 20);
  kernel.schedule = reader.object(value, where, "schedule");
  if (value.is_object() && value.contains("choice"))
    kernel.choice = reader.object(value, where, "choice");
  if (value.is_object() && value.contains("cost"))
    kernel.cost = readCost(reader, value["cost"], where + "/cost");
  if (value.is_object() && value.contains("dependent_launch"))
    kernel.dependentLaunch = reader.boolean(value, where, "dependent_launch");
  const json &params = reader.member(value, where, "params");
  if (reader.ok() && (!params.is_array() || params.size() > 256))
    reader.fail(where + "/params", "an array of at most 256 parameters is expected");
  for (size_t i = 0; reader.ok() && i < params.size(); ++i)
    kernel.params.push_back(readParam(reader, params[i], where + "/params/" + std::to_string(i)));
  const json &ptx = reader.member(value, where, "ptx");
  kernel.ptxOffset = reader.integer(ptx, where + "/ptx", "offset", 0);
  kernel.ptxSize = reader.integer(ptx, where + "/ptx", "size", 1, int64_t(1) << 32);
  kernel.ptxSha256 = reader.text(ptx, where + "/ptx", "sha256");
  return kernel;
}

static Target readTarget(Reader &reader, const json &value) {
  Target target;
  target.name = reader.text(value, "/target", "name");
  target.ptxIsa = reader.text(value, "/target", "ptx_isa");
  target.minDriverCuda = reader.integer(value, "/target", "min_driver_cuda", 0, 1000000);
  std::vector<int64_t> compute = reader.integers(value, "/target", "compute", 0, 1000, 2);
  if (reader.ok() && compute.size() != 2)
    reader.fail("/target/compute", "two integers are expected");
  if (reader.ok()) {
    target.computeMajor = compute[0];
    target.computeMinor = compute[1];
  }
  target.archSpecific = reader.boolean(value, "/target", "arch_specific");
  return target;
}

/// Every index points at something, and every parameter at an operand of its launch.
static void checkReferences(Reader &reader, const Plan &plan, const std::vector<Kernel> &kernels,
                            const std::string &prefix) {
  for (size_t l = 0; reader.ok() && l < plan.launches.size(); ++l) {
    const Launch &launch = plan.launches[l];
    std::string where = prefix + "/launches/" + std::to_string(l);
    for (const Param &param : kernels[size_t(launch.kernel)].params) {
      if (param.operand >= int64_t(launch.operands.size())) {
        reader.fail(where, "kernel " + std::to_string(launch.kernel) + " reads operand " +
                               std::to_string(param.operand) + ", but there are " +
                               std::to_string(launch.operands.size()));
        return;
      }
      const Buffer &buffer = plan.buffers[size_t(launch.operands[size_t(param.operand)])];
      if (param.kind == ParamKind::Stride && param.dim >= int64_t(buffer.shape.size()))
        reader.fail(where, "stride " + std::to_string(param.dim) + " of a tensor of rank " +
                               std::to_string(buffer.shape.size()));
      if (param.kind == ParamKind::TensorMap && buffer.shape.size() != 4)
        reader.fail(where, "a tensor map needs a tensor of rank 4");
    }
  }
  for (size_t b = 0; b < plan.buffers.size(); ++b) {
    const Buffer &buffer = plan.buffers[b];
    if (buffer.isInWorkspace() && buffer.offset + buffer.bytes() > plan.workspaceBytes)
      reader.fail(prefix + "/buffers/" + std::to_string(b), "the temporary ends beyond the workspace");
  }
}

/// Launches of one slice stand together, slices in their order, and a tensor has as many as the plan.
static void checkSlices(Reader &reader, const Plan &plan, const Slices &slices, const std::string &prefix) {
  int64_t slice = 0;
  for (size_t l = 0; reader.ok() && l < plan.launches.size(); ++l) {
    int64_t next = plan.launches[l].slice;
    if (next != slice && next != slice + 1)
      reader.fail(prefix + "/launches/" + std::to_string(l),
                  "slice " + std::to_string(next) + " comes behind slice " + std::to_string(slice));
    slice = next;
  }
  if (reader.ok() && slice >= countSlices(slices))
    reader.fail(prefix + "/launches", "slice " + std::to_string(slice) + " of " + std::to_string(countSlices(slices)));
  for (size_t b = 0; reader.ok() && b < plan.buffers.size(); ++b)
    for (size_t dim = 0; dim < slices.size(); ++dim)
      if (int64_t has = plan.buffers[b].slices[dim]; has != 1 && has != slices[dim])
        reader.fail(prefix + "/buffers/" + std::to_string(b) + "/slices",
                    std::to_string(has) + " slices in a plan of " + std::to_string(slices[dim]));
}

/// The two plans agree about the tensors that they share.
static void checkSaved(Reader &reader, const Manifest &manifest) {
  auto each = [&](const Plan &plan, BufferKind kind, const std::string &prefix, auto check) {
    for (size_t b = 0; reader.ok() && b < plan.buffers.size(); ++b)
      if (const Buffer &buffer = plan.buffers[b]; buffer.kind == kind)
        check(buffer, prefix + "/buffers/" + std::to_string(b));
  };
  each(manifest, BufferKind::Input, "", [&](const Buffer &buffer, const std::string &where) {
    if (buffer.isSaved())
      reader.fail(where, "an input of the forward plan cannot be a saved tensor");
  });
  each(manifest, BufferKind::Output, "", [&](const Buffer &buffer, const std::string &where) {
    if (buffer.isSaved() &&
        (buffer.savedOffset % 256 || buffer.savedOffset + buffer.bytes() > manifest.savedBytesOfSlice()))
      reader.fail(where, "the saved tensor is not at a multiple of 256 within the saved bytes");
  });
  if (!manifest.backward)
    return;
  each(*manifest.backward, BufferKind::Output, "/backward", [&](const Buffer &buffer, const std::string &where) {
    if (buffer.isSaved())
      reader.fail(where, "an output of the backward plan cannot be a saved tensor");
  });
  each(*manifest.backward, BufferKind::Input, "/backward", [&](const Buffer &buffer, const std::string &where) {
    const Buffer *given = manifest.findBuffer(buffer.name);
    if (given && given->isInWorkspace())
      given = nullptr;
    if (buffer.isSaved() && (!given || given->savedOffset != buffer.savedOffset))
      reader.fail(where, "the forward plan saves no tensor '" + buffer.name + "' there");
    if (given && (given->shape != buffer.shape || given->dtype != buffer.dtype ||
                  given->isSaved() != buffer.isSaved() || given->slices != buffer.slices))
      reader.fail(where, "'" + buffer.name + "' is another tensor in the forward plan");
  });
}

/// Buffers, workspace and launches of one plan.
static void readPlan(Reader &reader, const json &value, const std::string &prefix, size_t kernels, Plan &plan) {
  reader.forEach(value, prefix, "buffers", [&](const json &entry, const std::string &where) {
    plan.buffers.push_back(readBuffer(reader, entry, where));
  });
  const json &workspace = reader.member(value, prefix, "workspace");
  plan.workspaceBytes = reader.integer(workspace, prefix + "/workspace", "bytes", 0, kMaxBytes);
  plan.workspaceAlign = reader.integer(workspace, prefix + "/workspace", "align", 1, 1 << 20);
  reader.forEach(value, prefix, "launches", [&](const json &entry, const std::string &where) {
    Launch launch;
    launch.kernel = reader.integer(entry, where, "kernel", 0, int64_t(kernels) - 1);
    launch.operands = reader.integers(entry, where, "operands", 0, int64_t(plan.buffers.size()) - 1, 256);
    if (entry.is_object() && entry.contains("slice"))
      launch.slice = reader.integer(entry, where, "slice", 0);
    plan.launches.push_back(launch);
  });
}

Expected<Manifest> parseManifest(std::string_view text) {
  if (isNestedDeeperThan(text, 32))
    return Status(Code::Integrity, "manifest is nested more than 32 deep");
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded())
    return Status(Code::Integrity, "manifest is not valid JSON");
  Reader reader;
  Manifest manifest;
  const json &format = reader.member(value, "", "format");
  manifest.formatMajor = int(reader.integer(format, "/format", "major", 0, 1000000));
  manifest.formatMinor = int(reader.integer(format, "/format", "minor", 0, 1000000));
  if (reader.ok() && (manifest.formatMajor < kOldestFormatMajor || manifest.formatMajor > kFormatMajor))
    return Status(Code::Unsupported, "manifest /format/major: version " + std::to_string(manifest.formatMajor) +
                                         " cannot be read, this library reads versions " +
                                         std::to_string(kOldestFormatMajor) + " to " + std::to_string(kFormatMajor) +
                                         "; compile the method again");
  manifest.name = reader.text(value, "", "name");
  const json &producer = reader.member(value, "", "producer");
  manifest.fresnelVersion = reader.text(producer, "/producer", "fresnel");
  manifest.llvmVersion = reader.text(producer, "/producer", "llvm");
  manifest.target = readTarget(reader, reader.member(value, "", "target"));
  manifest.program = reader.text(value, "", "program", /*mayBeEmpty=*/true);
  manifest.parameters = reader.object(value, "", "parameters");
  reader.forEach(value, "", "kernels", [&](const json &entry, const std::string &where) {
    manifest.kernels.push_back(readKernel(reader, entry, where));
  });
  manifest.slices = readSlices(reader, value, "");
  readPlan(reader, value, "", manifest.kernels.size(), manifest);
  if (reader.ok() && value.contains("backward")) {
    readPlan(reader, value["backward"], "/backward", manifest.kernels.size(), manifest.backward.emplace());
    manifest.savedBytes = reader.integer(reader.member(value, "", "saved"), "/saved", "bytes", 0, kMaxBytes);
    if (int64_t count = countSlices(manifest.slices); count > 1 && manifest.savedBytes % (256 * count))
      reader.fail("/saved/bytes", "a multiple of 256 for each slice is expected");
  }
  if (reader.ok())
    checkReferences(reader, manifest, manifest.kernels, "");
  if (reader.ok() && manifest.backward)
    checkReferences(reader, *manifest.backward, manifest.kernels, "/backward");
  checkSlices(reader, manifest, manifest.slices, "");
  if (manifest.backward)
    checkSlices(reader, *manifest.backward, manifest.slices, "/backward");
  checkSaved(reader, manifest);
  if (!reader.ok())
    return Status(Code::Integrity, reader.message());
  return manifest;
}

} // namespace fresnel::rt
