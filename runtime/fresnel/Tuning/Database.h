//===- Database.h - All records of a tuning database
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A database is a folder:
//
//   journal/HOST.PID.RUN.jsonl   records as they are made, one writer each (Journal.h)
//   packs/HASH.ftdb              immutable; a header line, then records in canonical order
//
// No file ever has two writers and nothing is locked, so any number of tuners
// and readers may share it on any file system. Merging is the union of records.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TUNING_DATABASE_H
#define FRESNEL_TUNING_DATABASE_H

#include "fresnel/Tuning/Record.h"
#include <map>

namespace fresnel::rt {

/// $FRESNEL_DB, else $XDG_CACHE_HOME/fresnel/tuning, else ~/.cache/fresnel/tuning;
/// empty where there is no home.
std::string defaultDatabasePath();

/// IoError if there is nothing at `path`. Whoever names a database means one that is there; only the user's may have
/// to be made yet.
Status checkDatabaseExists(const std::string &path);

/// The records of a database in memory. Not thread-safe while it changes.
class Database {
public:
  /// Reads a folder, or one pack or journal. What does not exist yet is empty.
  /// Lines and packs that are damaged or of a newer schema are left out with a
  /// warning; an error is a folder or file that cannot be read.
  static Expected<Database> open(const std::string &path);

  /// The records of a pack or journal in memory; `name` appears in warnings.
  static Database parse(const std::string &name, std::string_view content);

  /// False if the record was there already.
  bool insert(const Record &record);
  /// Adds the other's records; returns how many were new.
  size_t merge(const Database &other);

  /// By canonical text.
  const std::map<std::string, Record> &records() const { return all; }
  /// What was left out, and why.
  const std::vector<std::string> &warnings() const { return notes; }
  /// The journals and packs that were read.
  const std::vector<std::string> &files() const { return sources; }

private:
  Status readFile(const std::string &path);
  void readContent(const std::string &path, std::string_view content);
  Status readFolder(const std::string &folder, const std::string &suffix);
  void readJournal(const std::string &path, std::string_view content);
  void readPack(const std::string &path, std::string_view content);

  std::map<std::string, Record> all;
  std::vector<std::string> notes, sources;
};

/// The content of a pack: its header and the records.
std::string makePack(const std::map<std::string, Record> &records);

/// Publishes the records as FOLDER/packs/HASH.ftdb and returns its path. A pack
/// of these records that exists already is left alone.
Expected<std::string> publishPack(const std::string &folder, const std::map<std::string, Record> &records);

/// True if a process may still be writing the journal: one of this machine that
/// lives, or one of another machine whose file changed within a day.
bool isJournalLive(const std::string &path);

} // namespace fresnel::rt

#endif // FRESNEL_TUNING_DATABASE_H
