//===- Bundle.cpp - The .fkb file: a manifest and its PTX
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Artifact/File.h"
#include "fresnel/Artifact/Sha256.h"

namespace fresnel::rt {

static constexpr std::string_view kMagic("FKB\x01", 4);
static constexpr size_t kHeader = 4 + 4 + 8 + 32;
static constexpr size_t kMaxManifest = 16u << 20;

static size_t align(size_t offset) { return (offset + 63) / 64 * 64; }

static uint64_t readInteger(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;)
    value = value << 8 | uint8_t(bytes[i]);
  return value;
}

static std::string writeInteger(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i)
    text += char(value >> (8 * i));
  return text;
}

static Status damaged(const std::string &name, const std::string &why) {
  return Status(Code::Integrity, "bundle '" + name + "' " + why);
}

Expected<Bundle> readBundle(const std::string &path) {
  Expected<std::string> content = readFile(path);
  if (!content)
    return content.status();
  return parseBundle(path, *content);
}

/// Takes the PTX out of the file and checks that nothing else is in it.
static Status extractPtx(const std::string &name, std::string_view content, size_t end, Bundle &bundle) {
  for (const Kernel &kernel : bundle.manifest.kernels) {
    size_t begin = align(end);
    if (uint64_t(kernel.ptxOffset) != begin || begin > content.size() ||
        uint64_t(kernel.ptxSize) > content.size() - begin)
      return damaged(name, "is damaged: the PTX of kernel '" + kernel.name + "' is not where the manifest says");
    if (content.substr(end, begin - end).find_first_not_of('\0') != std::string_view::npos)
      return damaged(name, "is damaged: the padding before kernel '" + kernel.name + "' is not zero");
    std::string ptx(content.substr(begin, size_t(kernel.ptxSize)));
    if (toHex(sha256(ptx)) != kernel.ptxSha256)
      return damaged(name, "is damaged: the PTX of kernel '" + kernel.name + "' does not match its hash");
    end = begin + ptx.size();
    bundle.ptx.push_back(std::move(ptx));
  }
  if (end != content.size())
    return damaged(name, "is damaged: " + std::to_string(content.size() - end) + " bytes follow the last kernel");
  return Status();
}

Expected<Bundle> parseBundle(const std::string &name, std::string_view content) {
  if (content.substr(0, 3) != kMagic.substr(0, 3))
    return damaged(name, "is not a Fresnel bundle (it does not begin with FKB)");
  if (content.size() < kHeader)
    return damaged(name, "is truncated: " + std::to_string(content.size()) + " bytes, the header alone has " +
                             std::to_string(kHeader));
  if (content[3] != kMagic[3])
    return Status(Code::Unsupported, "bundle '" + name + "' has container version " +
                                         std::to_string(int(uint8_t(content[3]))) +
                                         ", this library reads version 1; compile the method again");
  uint64_t manifestSize = readInteger(content.substr(4, 4)), fileSize = readInteger(content.substr(8, 8));
  if (fileSize != content.size())
    return damaged(name, (content.size() < fileSize ? "is truncated: " : "is damaged: ") +
                             std::to_string(content.size()) + " bytes, the header says " + std::to_string(fileSize));
  if (manifestSize > kMaxManifest || manifestSize > content.size() - kHeader)
    return damaged(name, "is damaged: a manifest of " + std::to_string(manifestSize) + " bytes does not fit");
  std::string_view json = content.substr(kHeader, manifestSize);
  Digest digest = sha256(json);
  if (content.substr(16, 32) != std::string_view(reinterpret_cast<const char *>(digest.data()), 32))
    return damaged(name, "is damaged: the manifest does not match its hash");
  Expected<Manifest> manifest = parseManifest(json);
  if (!manifest)
    return manifest.status().annotate("bundle '" + name + "'");
  Bundle bundle{std::move(*manifest), {}};
  Status status = extractPtx(name, content, kHeader + manifestSize, bundle);
  if (!status.ok())
    return status;
  return bundle;
}

Expected<std::string> serializeBundle(const std::string &name, Manifest manifest, const std::vector<std::string> &ptx) {
  if (ptx.size() != manifest.kernels.size())
    return Status(Code::InvalidArgument, "a bundle of " + std::to_string(manifest.kernels.size()) +
                                             " kernels needs as many PTX texts, but got " + std::to_string(ptx.size()));
  // The offsets are part of the manifest whose length they depend on: repeat
  // until the length stands still (it only grows, by a few digits).
  std::string json;
  size_t length = 0;
  do {
    length = json.size();
    size_t end = kHeader + length;
    for (size_t i = 0; i < ptx.size(); ++i) {
      Kernel &kernel = manifest.kernels[i];
      kernel.ptxOffset = int64_t(align(end));
      kernel.ptxSize = int64_t(ptx[i].size());
      kernel.ptxSha256 = toHex(sha256(ptx[i]));
      end = align(end) + ptx[i].size();
    }
    json = toJson(manifest);
  } while (json.size() != length);

  // What is written can be read: a bad manifest is the caller's error, now.
  if (json.size() > kMaxManifest)
    return Status(Code::InvalidArgument, "bundle '" + name + "' is not written: its manifest has " +
                                             std::to_string(json.size()) + " bytes, at most " +
                                             std::to_string(kMaxManifest) + " can be read");
  if (Expected<Manifest> readable = parseManifest(json); !readable)
    return Status(Code::InvalidArgument, readable.status().message()).annotate("bundle '" + name + "' is not written");

  std::string blobs;
  for (const std::string &text : ptx) {
    blobs.resize(align(kHeader + json.size() + blobs.size()) - kHeader - json.size());
    blobs += text;
  }
  Digest digest = sha256(json);
  std::string header(kMagic);
  header += writeInteger(json.size(), 4);
  header += writeInteger(kHeader + json.size() + blobs.size(), 8);
  header.append(reinterpret_cast<const char *>(digest.data()), digest.size());
  return header + json + blobs;
}

Status writeBundle(const std::string &path, Manifest manifest, const std::vector<std::string> &ptx) {
  Expected<std::string> content = serializeBundle(path, std::move(manifest), ptx);
  return content ? writeFileAtomically(path, {*content}) : content.status();
}

std::string digestOf(const Bundle &bundle) {
  Manifest manifest = bundle.manifest;
  manifest.name = manifest.program = manifest.fresnelVersion = manifest.llvmVersion = "";
  manifest.parameters = "{}";
  for (size_t i = 0; i < manifest.kernels.size(); ++i) {
    Kernel &kernel = manifest.kernels[i];
    kernel.choice = "{}";
    kernel.ptxOffset = 0;
    kernel.ptxSize = int64_t(bundle.ptx[i].size());
    kernel.ptxSha256 = toHex(sha256(bundle.ptx[i]));
  }
  return toHex(sha256(toJson(manifest)));
}

} // namespace fresnel::rt
