//===- Space.cpp - The schedules that a tuner may try ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/Space.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

//===----------------------------------------------------------------------===//
// Enumeration
//===----------------------------------------------------------------------===//

namespace {
/// The values of one field of a schedule.
struct Axis {
  llvm::StringRef field;
  std::vector<llvm::json::Value> values;
};
} // namespace

static std::vector<Axis> getAxes(Operation *op, SpaceSize size) {
  using Values = std::vector<llvm::json::Value>;
  // The tiles of these gradients follow from the head dim.
  if (isa<AttendGradOp>(op))
    return {{"tile_m", Values{64, 128}},
            {"tile_n", Values{64, 128}},
            {"stages", Values{1, 2, 3}},
            {"section", Values{0, 1, 2, 4, 8, 16}}};
  if (size == SpaceSize::Quick)
    return {{"tile_m", Values{64, 128, 192}},
            {"tile_n", Values{32, 64, 80, 96, 112, 128, 144, 160, 176, 192, 256}},
            {"stages", Values{1, 2, 3}},
            {"persistent", Values{false, true}},
            {"cluster", Values{1, 2}},
            {"early", Values{0, 16}},
            {"shared_weights", Values{false, true}}};
  Values tiles;
  for (int tile = 16; tile <= 256; tile += 16)
    tiles.push_back(tile);
  return {{"tile_m", Values{16, 32, 64, 96, 128, 192, 256}},
          {"tile_n", tiles},
          {"stages", Values{1, 2, 3, 4}},
          {"persistent", Values{false, true}},
          {"ping_pong", Values{false, true}},
          {"section", Values{0, 1, 4}},
          {"cluster", Values{1, 2}},
          {"early", Values{0, 16}},
          {"shared_weights", Values{false, true}}};
}

static std::string getText(ScheduleAttr schedule) { return llvm::formatv("{0}", llvm::json::Value(toJson(schedule))); }

namespace {
/// Collects the candidates of one operation.
class Enumeration {
public:
  Enumeration(Operation *op, const TargetInfo &target, int64_t multiprocessors)
      : op(op), target(target), multiprocessors(multiprocessors) {}

  void add(ScheduleAttr schedule, std::string rejected = "") {
    if (!seen.insert(getText(schedule)).second)
      return;
    if (rejected.empty())
      rejected = verifySchedule(schedule, op, target);
    candidates.push_back({schedule, rejected, getBoundCycles(schedule, op, target, multiprocessors)});
  }

  /// Varies the fields that the family has, from `at` on.
  void vary(llvm::json::Object fields, llvm::ArrayRef<Axis> axes) {
    if (axes.empty()) {
      llvm::Expected<ScheduleAttr> schedule = scheduleFromJson(fields, op->getContext());
      if (schedule)
        add(*schedule);
      llvm::consumeError(schedule.takeError());
      return;
    }
    if (!fields.get(axes.front().field))
      return vary(std::move(fields), axes.drop_front());
    for (const llvm::json::Value &value : axes.front().values) {
      llvm::json::Object changed = fields;
      changed[axes.front().field] = value;
      vary(std::move(changed), axes.drop_front());
    }
  }

  std::vector<Candidate> candidates;

private:
  Operation *op;
  const TargetInfo &target;
  int64_t multiprocessors;
  llvm::StringSet<> seen;
};
} // namespace

/// A schedule of the family with the fields that the family has, or null.
static ScheduleAttr makeFirst(Family family, MLIRContext *context) {
  llvm::json::Object fields{{"family", stringifyFamily(family)}};
  llvm::Expected<ScheduleAttr> schedule = scheduleFromJson(fields, context);
  if (schedule)
    return *schedule;
  llvm::consumeError(schedule.takeError());
  return {};
}

static size_t countDifferences(const llvm::json::Object &a, const llvm::json::Object &b) {
  size_t same = llvm::count_if(a, [&b](const auto &field) {
    const llvm::json::Value *other = b.get(field.first);
    return other && *other == field.second;
  });
  return a.size() - same;
}

std::vector<Candidate> fresnel::enumerateSchedules(Operation *op, const TargetInfo &target, int64_t multiprocessors,
                                                   SpaceSize size) {
  Enumeration all(op, target, multiprocessors);
  ScheduleAttr first = getDefaultSchedule(op, target);
  all.add(first);
  for (uint32_t i = 0; i <= getMaxEnumValForFamily(); ++i) {
    std::optional<Family> family = symbolizeFamily(i);
    ScheduleAttr schedule = family ? makeFirst(*family, op->getContext()) : ScheduleAttr();
    if (!schedule)
      continue;
    if (size == SpaceSize::Quick && *family != first.getFamily()) {
      std::string reason = verifySchedule(schedule, op, target);
      all.add(schedule, reason.empty() ? "the quick space has the default's family only" : reason);
      continue;
    }
    size_t before = all.candidates.size();
    llvm::json::Object fields = toJson(schedule);
    if (*family == Family::Hopper && isa<AttendOp>(op)) {
      fields["cluster"] = 1;
      fields["early"] = 0;
      fields["shared_weights"] = false;
    }
    if (auto gradient = dyn_cast<AttendGradOp>(op); *family == Family::Hopper && gradient && gradient.hasIntegerSums())
      fields["integers"] = true;
    all.vary(std::move(fields), getAxes(op, size));
    // A family that refuses everything for one reason is one candidate.
    llvm::MutableArrayRef<Candidate> added = llvm::MutableArrayRef(all.candidates).drop_front(before);
    if (added.size() > 1 && !added[0].rejected.empty() &&
        llvm::all_of(added, [&](const Candidate &other) { return other.rejected == added[0].rejected; }))
      all.candidates.erase(all.candidates.begin() + ptrdiff_t(before) + 1, all.candidates.end());
  }
  llvm::json::Object start = toJson(first);
  llvm::stable_sort(all.candidates, [&start](const Candidate &a, const Candidate &b) {
    size_t differA = countDifferences(toJson(a.schedule), start), differB = countDifferences(toJson(b.schedule), start);
    return std::make_tuple(differA, a.boundCycles, getText(a.schedule)) <
           std::make_tuple(differB, b.boundCycles, getText(b.schedule));
  });
  return std::move(all.candidates);
}

//===----------------------------------------------------------------------===//
// Bound
//===----------------------------------------------------------------------===//

double fresnel::getBoundCycles(ScheduleAttr schedule, Operation *op, const TargetInfo &target,
                               int64_t multiprocessors) {
  if (!isAttention(op) || multiprocessors <= 0)
    return 0;
  auto attend = dyn_cast<AttendOp>(op);
  // How many keys a selection or a document opens is in the data; pooled keys stand elsewhere than counted here.
  auto isPooled = [op](StringRef name) {
    auto value = op->getAttrOfType<IntegerAttr>(name);
    return value && value.getInt() > 1;
  };
  if (getBlockList(op) || getDocumentBounds(op) || isPooled("key_window") || isPooled("key_stride"))
    return 0;
  auto q = cast<RankedTensorType>(op->getOperand(0).getType()), k = cast<RankedTensorType>(op->getOperand(1).getType());
  auto v = cast<RankedTensorType>(op->getOperand(2).getType());
  // What the gradients' tiles are rows of is theirs to say; 16 divides every tile.
  int64_t tileM = attend ? schedule.getTileM() : 16, tileN = attend ? schedule.getTileN() : 16;
  int64_t queries = q.getDimSize(2), keys = k.getDimSize(2);
  auto isSet = [op](StringRef name) {
    auto flag = op->getAttrOfType<BoolAttr>(name);
    return flag && flag.getValue();
  };
  auto window = op->getAttrOfType<IntegerAttr>("window");
  double sum = 0, longest = 0;
  for (int64_t row = 0; row < queries; row += tileM) {
    int64_t last = isSet("causal") ? std::min(keys, keys - queries + row + tileM) : keys, begin = 0;
    if (window && window.getInt() > 0)
      begin = std::max<int64_t>(0, keys - queries + row - window.getInt() + 1) / tileN * tileN;
    double tile = double(tileM) * double(llvm::alignTo(std::max<int64_t>(last - begin, 0), tileN));
    sum += tile;
    longest = std::max(longest, tile);
  }
  double perScore = 2.0 * double(q.getDimSize(3) + v.getDimSize(3)) / double(target.matrixOpsPerCycle);
  double tiles = double(q.getDimSize(0) * q.getDimSize(1));
  return std::max(sum * tiles / double(multiprocessors), longest) * perScore;
}

//===----------------------------------------------------------------------===//
// Problems
//===----------------------------------------------------------------------===//

static std::string print(Attribute attribute) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  attribute.print(stream);
  return text;
}

static llvm::json::Value toJsonValue(Attribute attribute) {
  if (auto flag = dyn_cast<BoolAttr>(attribute))
    return flag.getValue();
  if (auto number = dyn_cast<IntegerAttr>(attribute))
    return number.getInt();
  if (auto number = dyn_cast<FloatAttr>(attribute))
    return number.getValueAsDouble();
  return print(attribute);
}

/// The attributes without those that have their default: one operation may hold
/// a default, another of the same meaning may lack it. Only printing knows them.
static DictionaryAttr getAttributes(Operation *op) {
  auto program = op->getParentOfType<ProgramOp>();
  std::string text;
  llvm::raw_string_ostream stream(text);
  program->print(stream, OpPrintingFlags().useLocalScope());
  ParserConfig config(op->getContext(), /*verifyAfterParse=*/false);
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, config);
  if (!module)
    return op->getAttrDictionary();
  Block &copy = (*module->getOps<ProgramOp>().begin()).getBody().front();
  auto index = std::distance(op->getBlock()->begin(), op->getIterator());
  return std::next(copy.begin(), index)->getAttrDictionary();
}

llvm::json::Object fresnel::describeProblem(Operation *op) {
  llvm::json::Array operands;
  for (Type type : op->getOperandTypes()) {
    auto tensor = cast<RankedTensorType>(type);
    std::string dtype;
    llvm::raw_string_ostream(dtype) << tensor.getElementType();
    llvm::json::Array shape;
    for (int64_t size : tensor.getShape())
      shape.push_back(size);
    operands.push_back(llvm::json::Object{{"dtype", dtype}, {"shape", std::move(shape)}});
  }
  llvm::json::Object attributes;
  for (NamedAttribute attribute : getAttributes(op))
    // The shape of the operand list is in the operands.
    if (attribute.getName() != "operandSegmentSizes")
      attributes[attribute.getName().getValue()] = toJsonValue(attribute.getValue());
  return llvm::json::Object{
      {"op", op->getName().getStringRef()}, {"operands", std::move(operands)}, {"attributes", std::move(attributes)}};
}
