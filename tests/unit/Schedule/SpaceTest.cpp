//===- SpaceTest.cpp - Schedule spaces
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/Space.h"
#include "fresnel/Presets/Presets.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

using namespace mlir;
using namespace fresnel;

namespace {

class SpaceTest : public testing::Test {
protected:
  SpaceTest() { context.loadDialect<FresnelDialect>(); }

  /// The first operation of that name of a preset.
  Operation *find(const std::string &preset, std::map<std::string, std::string> values, StringRef name) {
    llvm::Expected<std::string> text = instantiate(*findPreset(preset), values);
    EXPECT_TRUE(bool(text)) << llvm::toString(text.takeError());
    module = parseSourceString<ModuleOp>(*text, &context);
    Operation *found = nullptr;
    module->walk([&](Operation *op) {
      if (!found && op->getName().getStringRef() == name)
        found = op;
    });
    EXPECT_TRUE(found);
    return found;
  }
  TargetInfo target(llvm::StringRef name) { return *findTarget(name); }

  std::vector<Candidate> legal(const std::vector<Candidate> &all) {
    std::vector<Candidate> candidates;
    for (const Candidate &candidate : all)
      if (candidate.rejected.empty())
        candidates.push_back(candidate);
    return candidates;
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

} // namespace

TEST_F(SpaceTest, StartsWithTheDefaultAndNamesEachScheduleOnce) {
  Operation *op = find("dense", {}, "fresnel.attend");
  for (SpaceSize size : {SpaceSize::Quick, SpaceSize::Full}) {
    std::vector<Candidate> all = enumerateSchedules(op, target("sm_90a"), 132, size);
    ASSERT_FALSE(all.empty());
    EXPECT_EQ(all[0].schedule, getDefaultSchedule(op, target("sm_90a")));
    EXPECT_EQ(all[0].rejected, "");
    std::set<std::string> texts;
    for (const Candidate &candidate : all) {
      std::string text = llvm::formatv("{0}", llvm::json::Value(toJson(candidate.schedule)));
      EXPECT_TRUE(texts.insert(text).second) << text;
      if (candidate.rejected.empty()) {
        EXPECT_EQ(verifySchedule(candidate.schedule, op, target("sm_90a")), "") << text;
      }
    }
    EXPECT_GT(legal(all).size(), 10u);
    EXPECT_LT(legal(all).size(), all.size());
  }
}

TEST_F(SpaceTest, FullHasEveryFamilyThatServes) {
  Operation *op = find("dense", {}, "fresnel.attend");
  std::set<Family> families;
  for (const Candidate &candidate : legal(enumerateSchedules(op, target("sm_90a"), 132, SpaceSize::Full)))
    families.insert(candidate.schedule.getFamily());
  EXPECT_EQ(families, (std::set<Family>{Family::Portable, Family::Hopper}));
}

TEST_F(SpaceTest, AFamilyThatServesNothingIsRejectedOnceWithItsReason) {
  Operation *op = find("dense", {}, "fresnel.attend");
  int hopper = 0;
  for (const Candidate &candidate : enumerateSchedules(op, target("sm_80"), 108, SpaceSize::Full)) {
    if (candidate.schedule.getFamily() != Family::Hopper)
      continue;
    ++hopper;
    EXPECT_NE(candidate.rejected.find("needs wgmma, which sm_80 does not have"), std::string::npos);
  }
  // Persistent kernels have a reason of their own on no family but hopper.
  EXPECT_EQ(hopper, 1);
}

TEST_F(SpaceTest, OperationsWithOneScheduleHaveNothingToTune) {
  Operation *op = find("lighthouse", {}, "fresnel.norm");
  EXPECT_EQ(legal(enumerateSchedules(op, target("sm_90a"), 132, SpaceSize::Full)).size(), 1u);
}

TEST_F(SpaceTest, BoundCountsWholeTiles) {
  Operation *op =
      find("dense", {{"seq_len", "128"}, {"heads", "132"}, {"kv_heads", "132"}, {"causal", "false"}}, "fresnel.attend");
  auto bound = [&](const char *fields) {
    return getBoundCycles(*changeSchedule(getDefaultSchedule(op, target("sm_90a")), fields), op, target("sm_90a"), 132);
  };
  // 128 x 128 scores of one head on each multiprocessor, 2 * (128 + 128) operations each.
  EXPECT_EQ(bound("tile_m=128:tile_n=128"), 128.0 * 128 * 512 / 4096);
  EXPECT_EQ(bound("tile_m=128:tile_n=192"), 128.0 * 192 * 512 / 4096);
  EXPECT_EQ(bound("tile_m=192:tile_n=128"), 192.0 * 128 * 512 / 4096);
}

TEST_F(SpaceTest, BoundKnowsMasks) {
  auto bound = [&](const char *preset, std::map<std::string, std::string> values) {
    Operation *op = find(preset, values, "fresnel.attend");
    return getBoundCycles(getDefaultSchedule(op, target("sm_90a")), op, target("sm_90a"), 132);
  };
  double full = bound("dense", {{"causal", "false"}}), causal = bound("dense", {});
  EXPECT_LT(causal, 0.6 * full);
  EXPECT_GT(causal, 0.5 * full);
  EXPECT_LT(bound("window", {{"window", "512"}}), 0.2 * full);
  // How long the documents are is in the data.
  EXPECT_EQ(bound("documents", {}), 0);
}

TEST_F(SpaceTest, ProblemsHoldWhatDecidesTheKernel) {
  Operation *op = find("dense", {{"seq_len", "256"}, {"heads", "4"}, {"kv_heads", "2"}}, "fresnel.attend");
  llvm::json::Object problem = describeProblem(op);
  EXPECT_EQ(problem.getString("op"), llvm::StringRef("fresnel.attend"));
  ASSERT_EQ(problem.getArray("operands")->size(), 3u);
  const llvm::json::Object &key = *(*problem.getArray("operands"))[1].getAsObject();
  EXPECT_EQ(key.getString("dtype"), llvm::StringRef("bf16"));
  EXPECT_EQ(*key.getArray("shape"), (llvm::json::Array{1, 2, 256, 128}));
  EXPECT_EQ(problem.getObject("attributes")->getBoolean("causal"), true);
  EXPECT_FALSE(problem.getObject("attributes")->get("operandSegmentSizes"));
}

TEST_F(SpaceTest, ProblemsDoNotDependOnDefaultsThatAreSpelt) {
  auto describe = [this](const char *attributes) {
    std::string text =
        "!t = tensor<1x2x64x64xbf16>\nfresnel.program @p(%q: !t) {\n %o, %l = fresnel.attend %q, %q, %q {" +
        std::string(attributes) + "} : !t, !t, !t\n fresnel.return %o {names = [\"o\"]} : !t\n}\n";
    module = parseSourceString<ModuleOp>(text, &context);
    Operation *op = nullptr;
    module->walk([&op](AttendOp attend) { op = attend; });
    return describeProblem(op);
  };
  EXPECT_EQ(describe("causal = true, softcap = 0.0"), describe("causal = true"));
  EXPECT_FALSE(describe("causal = true, softcap = 2.0") == describe("causal = true"));
}

// The gradients in one pass: sections are what there is to try, and what gives other bits every time is not.
TEST_F(SpaceTest, GradientsInOnePass) {
  module = parseSourceString<ModuleOp>(R"(
!x = tensor<1x16x4096x128xbf16>
fresnel.program @p(%x: !x, %s: tensor<1x16x2x4096xf32>) {
  %a, %b, %c = fresnel.attend_grad %x, %x, %x stats %s dout %x {causal = true} : !x, !x, !x, tensor<1x16x2x4096xf32>, !x
  fresnel.return %b, %c {names = ["dk", "dv"]} : !x, !x
})",
                                       &context);
  ASSERT_TRUE(module);
  Operation *op = nullptr;
  module->walk([&](AttendGradOp found) { op = found; });
  std::set<int64_t> sections;
  for (const Candidate &candidate : legal(enumerateSchedules(op, target("sm_90a"), 132, SpaceSize::Quick))) {
    EXPECT_EQ(candidate.schedule.getFamily(), Family::Hopper);
    EXPECT_TRUE(candidate.schedule.getOrdered());
    sections.insert(candidate.schedule.getSection());
  }
  EXPECT_EQ(sections, (std::set<int64_t>{0, 1, 2, 4, 8, 16}));

  ScheduleAttr first = getDefaultSchedule(op, target("sm_90a"));
  auto change = [&](llvm::StringRef text) {
    llvm::Expected<ScheduleAttr> changed = changeSchedule(first, text);
    EXPECT_TRUE(bool(changed));
    return changed ? verifySchedule(*changed, op, target("sm_90a")) : std::string();
  };
  EXPECT_EQ(change("ordered=false"), "");
  EXPECT_EQ(change("tile_n=64"), "");
  EXPECT_EQ(change("tile_n=96"),
            "tile_n, the queries of a step, must be 64 or 128 in gradients with head dim 128, but is 96");
  EXPECT_EQ(change("tile_m=64"),
            "tile_m, the keys of a thread block, must be 128 in gradients with head dim 128, but is 64");
  EXPECT_EQ(change("tile_n=64:stages=6"),
            "the tiles need 247672 bytes of shared memory, but sm_90a has 232448; lower stages");
  EXPECT_EQ(change("ping_pong=false"), "the consumers of gradients take no turns; leave ping_pong = true");
  EXPECT_EQ(change("persistent=true"), "gradients are not persistent; set persistent = false");
  EXPECT_EQ(change("section=-1"), "section must be positive, or 0 for the default, but is -1");
  EXPECT_EQ(change("family=portable"), "only family hopper has all gradients of attention in one pass");
}
