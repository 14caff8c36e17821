//===- Manifest.cpp - The manifest, and how it is written
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/Manifest.h"
#include "fresnel/Artifact/ManifestKinds.h"
#include <nlohmann/json.hpp>

using nlohmann::json;

namespace fresnel::rt {

int64_t Buffer::elements() const {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

const Buffer *Plan::findBuffer(std::string_view bufferName) const {
  for (const Buffer &buffer : buffers)
    if (buffer.name == bufferName)
      return &buffer;
  return nullptr;
}

static json toJson(const Param &param) {
  json value = {{"kind", kParamKinds[int(param.kind)]}, {"operand", param.operand}};
  if (param.kind == ParamKind::Stride)
    value["dim"] = param.dim;
  if (param.kind == ParamKind::TensorMap) {
    value["box"] = param.heads > 1 ? json{param.heads, param.rows, param.cols} : json{param.rows, param.cols};
    value["swizzle"] = param.swizzle;
  }
  return value;
}

/// JSON text as a value; null, which readers refuse, when it is not JSON.
static json embed(const std::string &text) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? json() : value;
}

static json toJson(const Kernel &kernel) {
  json params = json::array();
  for (const Param &param : kernel.params)
    params.push_back(toJson(param));
  json value = {{"name", kernel.name},
                {"entry", kernel.entry},
                {"op", kernel.op},
                {"block", kernel.block},
                {"grid", kernel.grid},
                {"cluster", kernel.cluster},
                {"shared_bytes", kernel.sharedBytes},
                {"params", params},
                {"schedule", embed(kernel.schedule)},
                {"ptx", {{"offset", kernel.ptxOffset}, {"size", kernel.ptxSize}, {"sha256", kernel.ptxSha256}}}};
  if (kernel.choice != "{}")
    value["choice"] = embed(kernel.choice);
  if (const std::optional<Cost> &cost = kernel.cost)
    value["cost"] = {{"bytes_read", cost->bytesRead},
                     {"bytes_written", cost->bytesWritten},
                     {"flops", cost->flops},
                     {"exact", cost->exact}};
  if (kernel.dependentLaunch)
    value["dependent_launch"] = true;
  return value;
}

static json toJson(const Plan &plan) {
  json buffers = json::array(), launches = json::array();
  for (const Buffer &buffer : plan.buffers) {
    buffers.push_back({{"name", buffer.name},
                       {"kind", kBufferKinds[int(buffer.kind)]},
                       {"dtype", nameOf(buffer.dtype)},
                       {"shape", buffer.shape}});
    if (buffer.isInWorkspace())
      buffers.back()["offset"] = buffer.offset;
    if (buffer.isSaved())
      buffers.back()["saved_offset"] = buffer.savedOffset;
    if (countSlices(buffer.slices) > 1)
      buffers.back()["slices"] = buffer.slices;
  }
  for (const Launch &launch : plan.launches) {
    launches.push_back({{"kernel", launch.kernel}, {"operands", launch.operands}});
    if (launch.slice > 0)
      launches.back()["slice"] = launch.slice;
  }
  return {{"buffers", buffers},
          {"workspace", {{"bytes", plan.workspaceBytes}, {"align", plan.workspaceAlign}}},
          {"launches", launches}};
}

std::string toJson(const Manifest &manifest) {
  json kernels = json::array();
  for (const Kernel &kernel : manifest.kernels)
    kernels.push_back(toJson(kernel));
  const Target &target = manifest.target;
  json value = {{"format", {{"major", manifest.formatMajor}, {"minor", manifest.formatMinor}}},
                {"name", manifest.name},
                {"producer", {{"fresnel", manifest.fresnelVersion}, {"llvm", manifest.llvmVersion}}},
                {"target",
                 {{"name", target.name},
                  {"ptx_isa", target.ptxIsa},
                  {"min_driver_cuda", target.minDriverCuda},
                  {"compute", {target.computeMajor, target.computeMinor}},
                  {"arch_specific", target.archSpecific}}},
                {"program", manifest.program},
                {"parameters", embed(manifest.parameters)},
                {"kernels", kernels}};
  value.update(toJson(static_cast<const Plan &>(manifest)));
  if (countSlices(manifest.slices) > 1)
    value["slices"] = manifest.slices;
  if (manifest.backward) {
    value["backward"] = toJson(*manifest.backward);
    value["saved"] = {{"bytes", manifest.savedBytes}};
  }
  return value.dump(2, ' ', false, json::error_handler_t::replace);
}

} // namespace fresnel::rt
