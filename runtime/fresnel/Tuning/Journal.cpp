//===- Journal.cpp - The append-only file of one tuning process
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tuning/Journal.h"
#include "fresnel/Artifact/File.h"
#include "fresnel/Artifact/Sha256.h"
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>
#include <utility>

namespace fresnel::rt {

static Status systemError(const std::string &what, const std::string &path) {
  return Status(Code::IoError, "cannot " + what + " '" + path + "': " + std::strerror(errno));
}

std::string makeRunId() {
  char random[16] = {};
  // Without entropy the time and the process still tell runs of a machine apart.
  if (getrandom(random, sizeof random, GRND_NONBLOCK) < 0)
    random[0] = 0;
  std::string seed(random, sizeof random);
  seed += std::to_string(std::chrono::system_clock::now().time_since_epoch().count()) + "." + std::to_string(getpid());
  return toHex(sha256(seed)).substr(0, 16);
}

static std::string hostName() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  // It becomes a part of a file name.
  std::string host = *name ? name : "host";
  for (char &c : host)
    if (!isalnum(static_cast<unsigned char>(c)) && c != '-')
      c = '-';
  return host;
}

Expected<Journal> Journal::create(const std::string &folder, const std::string &run) {
  Status status = makeFolders(folder + "/journal");
  if (!status.ok())
    return status;
  Journal journal;
  journal.file = folder + "/journal/" + hostName() + "." + std::to_string(getpid()) + "." + run + ".jsonl";
  journal.descriptor = open(journal.file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  if (journal.descriptor < 0)
    return systemError("create", journal.file);
  return journal;
}

Journal::Journal(Journal &&other) noexcept
    : file(std::move(other.file)), descriptor(std::exchange(other.descriptor, -1)) {}

Journal &Journal::operator=(Journal &&other) noexcept {
  std::swap(file, other.file);
  std::swap(descriptor, other.descriptor);
  return *this;
}

Journal::~Journal() {
  if (descriptor >= 0)
    close(descriptor);
}

Status Journal::append(const Record &record) {
  if (descriptor < 0)
    return Status(Code::IoError, "journal '" + file + "' is closed after an error");
  std::string line = toJson(record) + "\n";
  ssize_t count;
  do
    count = write(descriptor, line.data(), line.size());
  while (count < 0 && errno == EINTR);
  if (count == ssize_t(line.size()) && fdatasync(descriptor) == 0)
    return Status();
  // A torn line may now be the last one; nothing may follow it.
  if (count >= 0 && count < ssize_t(line.size()))
    errno = ENOSPC;
  Status status = systemError("write", file);
  close(std::exchange(descriptor, -1));
  return status;
}

} // namespace fresnel::rt
