//===- FuzzDatabase.cpp - Any bytes as a journal or a pack
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "Fuzz.h"
#include "fresnel/Tuning/Selection.h"

using namespace fresnel::rt;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Database database = Database::parse("fuzz", {reinterpret_cast<const char *>(data), size});
  // Whatever was let in can be chosen from, shown, and written.
  for (const DeviceClass &device : listDevices(database)) {
    Selection selection(database, device);
    SelectionDigest digest;
    digest.add(selection);
    expect(digest.finish().size() == 64, "a selection has no digest");
    for (const auto &[text, record] : database.records()) {
      selection.lookup(record.trial.problem, [](const std::string &) { return true; });
      expect(!describe(record.trial.problem).empty(), "a problem has no description");
    }
  }
  Database again = Database::parse("again", makePack(database.records()));
  expect(again.records().size() == database.records().size() && again.warnings().empty(),
         "a pack does not hold what was put in");
  return 0;
}
