//===- HopperTile.cpp - Tiles of queries in the hopper family -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperTile.h"
#include "fresnel/Conversion/HopperRings.h"
#include "fresnel/Schedule/Hopper.h"

using namespace mlir;
using namespace fresnel;

HopperTile::HopperTile(KernelBuilder &builder, const AttendShape &shape, ScheduleAttr schedule, const BlockTiles &rows,
                       AttendMath &math)
    : b(builder), shape(shape), schedule(schedule), math(math), rows(rows) {}

void HopperTile::readLists(Val tensor, function_ref<void()> meanwhile) {
  lists.emplace(b, shape, schedule, rows);
  lists->setStarts(starts);
  locate(b.id(tile::Id::BlockX));
  if (meanwhile)
    meanwhile();
  DocumentEdges edges;
  if (shape.documents)
    edges = loadDocumentEdges(b, documents, firstRow, rows.tokens);
  lists->read(tensor, batch, divideBy(head, shape.heads / shape.listHeads), firstRow, position,
              shape.documents ? &edges : nullptr);
}

DocumentEdges HopperTile::loadEdges(Val row, int64_t count) {
  return shape.documents ? loadDocumentEdges(b, documents, row, count, shape.getDocumentSteps()) : DocumentEdges();
}

KeyBlocks HopperTile::visitFrom(Val row, const DocumentEdges &edges) {
  Val position = row + double(shape.getOffset());
  if (!shape.documents)
    return math.visit(position, rows.tokens);
  KeyBlocks blocks = math.visit(position, rows.tokens, &edges);
  // Whatever the bounds hold, the roles take one step together.
  blocks.count = b.max(blocks.count, b.i32(1));
  return blocks;
}

void HopperTile::sortTiles(Val keys, Val order, int64_t threads) {
  constexpr int64_t width = 4;
  int64_t tiles = getTokenTiles(), padded = llvm::alignTo(tiles, width);
  Val thread = b.id(tile::Id::Thread), zero = b.i32(0);
  // No two are equal, and those of no tile are the least.
  b.forRange(thread, b.i32(padded), b.i32(threads), [&](Val tile) {
    Val row = tile * double(rows.tokens), work = visitFrom(row, loadEdges(row, rows.tokens)).count;
    b.store(b.select(tile < double(tiles), work * double(tiles) + tile, b.i32(-1)), keys, {tile});
  });
  b.barrier();
  b.forRange(thread, b.i32(tiles), b.i32(threads), [&](Val tile) {
    Val key = b.load(keys, {tile});
    Val place = b.forRange(zero, b.i32(padded), b.i32(width), {zero}, [&](Val first, ArrayRef<Val> state) {
      Val others = b.load(keys, {first}, width), before = state[0];
      for (int64_t i = 0; i < width; ++i)
        before = before + b.cast(b.extract(others, i) > key, b.getI32Type());
      return SmallVector<Val>{before};
    })[0];
    b.store(b.cast(tile, b.getIntegerType(16)), order, {place});
  });
  // The memory of the keys is written by copies next.
  tile::FenceAsyncOp::create(b);
  b.barrier();
  this->order = order;
}

/// Under a causal mask, and where tiles are sorted, the heads are cut into sections whose keys and values fit
/// L2, and a section's tiles start in the order of their work, the most first: the
/// last ones to end are short. With documents that is the order of the last section, and the others go through the
/// sequence from its end, as neighbours read the same keys.
void HopperTile::locate(Val index, ArrayRef<Val> bounds) {
  int64_t blocks = getTokenTiles(), groups = shape.heads / rows.group, heads = groups * shape.batches;
  int64_t cluster = schedule.getCluster();
  Val block, flatHead;
  if (order || (shape.causal && shape.window <= 0 && !shape.hasBlocks())) {
    int64_t section =
        getHopperSection(schedule, shape.keys, shape.headDim + shape.valueDim, shape.heads / shape.kvHeads, heads);
    auto [head, tile] = walkSections(cluster > 1 ? index / double(cluster) : index, heads, section, blocks / cluster);
    block = double(blocks / cluster - 1) - tile;
    if (order)
      block = b.select(head >= double((heads - 1) / section * section), b.cast(b.load(order, {tile}), b.getI32Type()),
                       block);
    if (cluster > 1)
      block = block * double(cluster) + index % double(cluster);
    flatHead = head;
  } else {
    block = index % double(blocks);
    flatHead = index / double(blocks);
  }
  batch = flatHead / double(groups);
  head = flatHead % double(groups);
  if (rows.group > 1)
    head = head * double(rows.group);
  kvHead = head / double(shape.heads / shape.kvHeads);
  firstRow = block * double(rows.tokens);
  position = firstRow + double(shape.getOffset());
  if (shape.hasBlocks()) {
    // Absent while the lists are being read.
    visited.count = lists->steps;
    return;
  }
  if (bounds.empty()) {
    edges = loadEdges(firstRow, rows.tokens);
  } else {
    edges.firstStart = bounds[0];
    edges.lastEnd = shape.causal ? Val() : bounds[3];
  }
  visited = visitFrom(firstRow, edges);
  // Plus 0, which nobody sees: with one or two steps in sight LLVM and ptxas would merge
  // the copies of the loop, and spill.
  visited.count = visited.count + b.id(tile::Id::BlockZ);
  if (cluster > 1) {
    Val start = position - index % double(cluster) * double(rows.tokens);
    skipped = math.visit(start, cluster * rows.tokens).end - visited.end;
  }
  // Tiles without keys visit one block that is hidden from them.
  if (shape.causal && shape.mayBeEmpty())
    visited.count = b.max(visited.count, b.i32(1));
}

void HopperTile::joinCluster() {
  visited.end = visited.end + skipped;
  visited.count = visited.count + skipped;
}

Val HopperTile::getStart(Val i) {
  if (shape.hasBlocks())
    return lists->getStart(i, 0);
  Val block = visited.end - 1.0 - i;
  if (shape.window > 0 && shape.sinks > 0)
    block = b.select(block < visited.first, visited.count - 1.0 - i, block);
  if (shape.causal && shape.mayBeEmpty())
    block = b.max(block, b.i32(0));
  return block * double(schedule.getTileN());
}

SmallVector<Val> HopperTile::getBounds() const {
  if (!shape.documents || shape.hasBlocks())
    return {};
  SmallVector<Val> bounds{edges.firstStart, groupEdges.lastStart, groupDocuments.starts};
  if (!shape.causal)
    bounds.append({edges.lastEnd, groupEdges.firstEnd, groupDocuments.ends});
  return bounds;
}

void HopperTile::locateGroup(Val groupRow, ArrayRef<Val> bounds) {
  groupPosition = position + groupRow;
  if (!shape.documents)
    return;
  if (!bounds.empty()) {
    groupEdges.lastStart = bounds[1];
    groupEdges.firstEnd = shape.causal ? Val() : bounds[4];
    groupDocuments = {bounds[2], shape.causal ? Val() : bounds[5]};
    return;
  }
  Val row = firstRow + divideBy(groupRow, rows.group);
  if (!shape.hasBlocks())
    groupEdges = loadEdges(row, kGroupRows);
  DocumentSide side = shape.causal ? DocumentSide::Starts : DocumentSide::Both;
  groupDocuments = loadDocumentRows(b, documents, row, kGroupRows, side, rows.group, shape.getDocumentSteps());
}

Val HopperTile::isWithin(Val keys) {
  if (shape.starts)
    return lists->isBehindStart(keys);
  return shape.documents ? isInDocument(groupDocuments, keys) : Val();
}

Val HopperTile::hide(Val scores, Val i) {
  return shape.documents ? math.hide(scores, getStart(i), groupPosition, groupDocuments)
                         : math.hide(scores, getStart(i), groupPosition);
}

Val HopperTile::countPlain() {
  Val keys = shape.causal ? b.min(countKeysUpTo(shape, groupPosition), b.i32(shape.keys)) : groupEdges.firstEnd;
  return keys / double(schedule.getTileN());
}

Val HopperTile::getLeftEdge() {
  if (shape.window <= 0)
    return groupEdges.lastStart;
  Val edge = b.max(groupPosition + double(kGroupRows - shape.window), b.i32(0));
  return shape.documents ? b.max(edge, groupEdges.lastStart) : edge;
}
