//===- Replay.cpp - Runs a fuzz target on its seeds and on mutations of them
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//   replay-TARGET COUNT [SEED] FILE|FOLDER...
//
// Every file as it is, then COUNT mutations, the same ones on every machine for a
// SEED. An input that ends the program is written to finding-TARGET.bin in the current
// folder; give that file with a COUNT of 0 to run it again. Works with any compiler;
// with clang the same targets also link with libFuzzer (FRESNEL_FUZZ).
//
//===----------------------------------------------------------------------===//

#include "Fuzz.h"
#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <unistd.h>
#include <vector>

namespace fs = std::filesystem;

/// The input that runs, for the signal handler.
static const std::string *current = nullptr;
static std::string findingPath;

static void saveFinding(int signal) {
  int file = open(findingPath.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0 && current) {
    ssize_t written = write(file, current->data(), current->size());
    (void)written;
    close(file);
  }
  std::signal(signal, SIG_DFL);
  raise(signal);
}

static void run(const std::string &input) {
  current = &input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(input.data()), input.size());
  current = nullptr;
}

static std::vector<std::string> readSeeds(int count, char **paths) {
  std::vector<fs::path> files;
  for (int i = 0; i < count; ++i) {
    if (!fs::is_directory(paths[i])) {
      files.push_back(paths[i]);
      continue;
    }
    for (const auto &entry : fs::recursive_directory_iterator(paths[i]))
      if (entry.is_regular_file())
        files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> seeds;
  for (const fs::path &path : files) {
    std::ifstream stream(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return seeds;
}

namespace {
/// Makes inputs that are near to the seeds. The distributions are our own: those of
/// the standard library differ between implementations.
class Mutator {
public:
  Mutator(const std::vector<std::string> &seeds, uint64_t seed) : seeds(seeds), random(seed) {}

  std::string next() {
    std::string input = pick();
    for (size_t changes = 1 + below(4); changes > 0; --changes)
      change(input);
    return input;
  }

private:
  size_t below(size_t limit) { return limit ? size_t(random() % limit) : 0; }
  const std::string &pick() { return seeds[below(seeds.size())]; }

  void change(std::string &input) {
    static const char *const words[] = {"0",
                                        "-1",
                                        "1",
                                        "9223372036854775807",
                                        "18446744073709551615",
                                        "1e999",
                                        "\"\"",
                                        "null",
                                        "[]",
                                        "{}",
                                        "true",
                                        "x",
                                        "4294967296",
                                        "\xff",
                                        "f32",
                                        "?x"};
    size_t at = below(input.size() + 1), length = 1 + below(16);
    switch (below(8)) {
    case 0: // A bit.
      if (at < input.size())
        input[at] = char(input[at] ^ (1 << below(8)));
      break;
    case 1: // A byte.
      if (at < input.size())
        input[at] = char(below(256));
      break;
    case 2:
      input.erase(at, length);
      break;
    case 3:
      input.insert(at, words[below(std::size(words))]);
      break;
    case 4: // A part of a seed.
    {
      const std::string &other = pick();
      size_t from = below(other.size() + 1);
      input.insert(at, other, from, 1 + below(64));
      break;
    }
    case 5:
      input.resize(at);
      break;
    default: // A number, where there is one: sizes and offsets are what readers trust.
      replaceNumber(input, at, words[below(std::size(words))]);
      break;
    }
  }

  static void replaceNumber(std::string &input, size_t at, const char *word) {
    auto isDigit = [](char c) { return c >= '0' && c <= '9'; };
    while (at < input.size() && !isDigit(input[at]))
      ++at;
    size_t end = at;
    while (end < input.size() && isDigit(input[end]))
      ++end;
    if (at < end)
      input.replace(at, end - at, word);
  }

  const std::vector<std::string> &seeds;
  std::mt19937_64 random;
};
} // namespace

int main(int argc, char **argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s COUNT [SEED] FILE|FOLDER...\n", argv[0]);
    return 2;
  }
  findingPath = "finding-" + fs::path(argv[0]).filename().string() + ".bin";
  for (int signal : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGILL})
    std::signal(signal, saveFinding);
  long count = std::strtol(argv[1], nullptr, 10);
  bool hasSeed = argc > 3 && std::string(argv[2]).find_first_not_of("0123456789") == std::string::npos;
  uint64_t seed = hasSeed ? std::strtoull(argv[2], nullptr, 10) : 1;
  std::vector<std::string> seeds = readSeeds(argc - 2 - hasSeed, argv + 2 + hasSeed);
  if (seeds.empty()) {
    std::fprintf(stderr, "%s: there are no seeds\n", argv[0]);
    return 2;
  }
  for (const std::string &input : seeds)
    run(input);
  Mutator mutator(seeds, seed);
  for (long i = 0; i < count; ++i)
    run(mutator.next());
  std::printf("%zu seeds and %ld mutations\n", seeds.size(), count);
  return 0;
}
