//===- Journal.h - The append-only file of one tuning process
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TUNING_JOURNAL_H
#define FRESNEL_TUNING_JOURNAL_H

#include "fresnel/Tuning/Record.h"

namespace fresnel::rt {

/// Sixteen hexadecimal digits that no other run has.
std::string makeRunId();

/// Writes records to a file that this process alone writes:
/// FOLDER/journal/HOST.PID.RUN.jsonl. A record is one `write`, so that a kill
/// leaves at most one torn line, the last, which readers skip. Not thread-safe.
class Journal {
public:
  /// IoError if the folder cannot be made or the file exists already.
  static Expected<Journal> create(const std::string &folder, const std::string &run);
  Journal(Journal &&other) noexcept;
  Journal &operator=(Journal &&other) noexcept;
  ~Journal();

  /// When this returns Ok the record has left the process: killing it loses
  /// nothing. After an error (a full disk) the journal takes no more records.
  Status append(const Record &record);
  const std::string &path() const { return file; }

private:
  Journal() = default;
  std::string file;
  int descriptor = -1;
};

} // namespace fresnel::rt

#endif // FRESNEL_TUNING_JOURNAL_H
