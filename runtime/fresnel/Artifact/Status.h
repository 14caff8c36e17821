//===- Status.h - Errors as values
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_ARTIFACT_STATUS_H
#define FRESNEL_ARTIFACT_STATUS_H

#include <string>
#include <utility>
#include <variant>

namespace fresnel::rt {

/// What went wrong, for programs; the message says it for people. The values are
/// part of the C ABI.
enum class Code {
  Ok = 0,
  InvalidArgument = 1,
  Unsupported = 2,
  NoDriver = 4,
  DriverTooOld = 5,
  Integrity = 6,
  WorkspaceTooSmall = 9,
  CudaError = 10,
  IoError = 11,
  OutOfMemory = 13,
  JitDisabled = 14,
  Internal = 99
};

/// Success, or a code and a message. Nothing here throws.
class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Code code, std::string message) : errorCode(code), text(std::move(message)) {}

  bool ok() const { return errorCode == Code::Ok; }
  Code code() const { return errorCode; }
  const std::string &message() const { return text; }
  /// The same error with its circumstances in front: "context: message".
  Status annotate(const std::string &context) const { return ok() ? *this : Status(errorCode, context + ": " + text); }

private:
  Code errorCode = Code::Ok;
  std::string text;
};

/// A value or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Expected {
public:
  Expected(T value) : state(std::move(value)) {}
  Expected(Status status) : state(std::move(status)) {}

  explicit operator bool() const { return std::holds_alternative<T>(state); }
  T &operator*() { return std::get<T>(state); }
  const T &operator*() const { return std::get<T>(state); }
  T *operator->() { return &std::get<T>(state); }
  const T *operator->() const { return &std::get<T>(state); }
  /// The error; Ok when there is a value.
  Status status() const { return *this ? Status() : std::get<Status>(state); }

private:
  std::variant<T, Status> state;
};

} // namespace fresnel::rt

#endif // FRESNEL_ARTIFACT_STATUS_H
