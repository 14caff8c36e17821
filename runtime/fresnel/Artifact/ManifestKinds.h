//===- ManifestKinds.h - What the manifest calls kinds of things
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_MANIFESTKINDS_H
#define FRESNEL_ARTIFACT_MANIFESTKINDS_H

namespace fresnel::rt {

/// Of BufferKind and of ParamKind, in their order.
inline constexpr const char *kBufferKinds[] = {"input", "output", "temporary", "zeroed"};
inline constexpr const char *kParamKinds[] = {"pointer", "stride", "tensor_map"};

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_MANIFESTKINDS_H
