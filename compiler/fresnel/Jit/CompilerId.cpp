//===- CompilerId.cpp - Which compiler this is
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Jit/CompilerId.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/MathExtras.h"
#include <cstring>
#include <dlfcn.h>
#include <link.h>
#include <sys/stat.h>

using namespace fresnel;

namespace {
/// The search for the build id of the object that holds an address.
struct Search {
  uintptr_t address;
  std::string id;
};
} // namespace

/// The id in a segment of ELF notes, or nothing.
static llvm::StringRef findBuildId(llvm::StringRef notes) {
  ElfW(Nhdr) header;
  while (notes.size() >= sizeof header) {
    std::memcpy(&header, notes.data(), sizeof header);
    size_t name = sizeof header, description = name + llvm::alignTo(header.n_namesz, 4);
    size_t end = description + llvm::alignTo(header.n_descsz, 4);
    if (end > notes.size())
      break;
    if (header.n_type == NT_GNU_BUILD_ID && notes.substr(name, header.n_namesz) == llvm::StringRef("GNU\0", 4))
      return notes.substr(description, header.n_descsz);
    notes = notes.drop_front(end);
  }
  return {};
}

static int visitObject(dl_phdr_info *info, size_t, void *data) {
  auto *search = static_cast<Search *>(data);
  auto inside = [&](const ElfW(Phdr) & segment) {
    uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
    return segment.p_type == PT_LOAD && search->address >= begin && search->address < begin + segment.p_memsz;
  };
  llvm::ArrayRef<ElfW(Phdr)> segments(info->dlpi_phdr, info->dlpi_phnum);
  if (llvm::none_of(segments, inside))
    return 0;
  for (const ElfW(Phdr) &segment : segments)
    if (segment.p_type == PT_NOTE && search->id.empty())
      search->id = llvm::toHex(
          findBuildId({reinterpret_cast<const char *>(info->dlpi_addr + segment.p_vaddr), size_t(segment.p_filesz)}),
          /*LowerCase=*/true);
  return 1;
}

static std::string makeCompilerId() {
  Search search{reinterpret_cast<uintptr_t>(&getCompilerId), {}};
  dl_iterate_phdr(visitObject, &search);
  Dl_info info;
  struct stat file;
  if (search.id.empty() && dladdr(reinterpret_cast<void *>(&getCompilerId), &info) && info.dli_fname &&
      stat(info.dli_fname, &file) == 0)
    search.id = std::to_string(file.st_size) + "." + std::to_string(file.st_mtime);
  return "fresnel " FRESNEL_VERSION ", LLVM " LLVM_VERSION_STRING ", build " + search.id;
}

const std::string &fresnel::getCompilerId() {
  static const std::string id = makeCompilerId();
  return id;
}
