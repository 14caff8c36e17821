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

void HopperTile::readLists(Val tensor) {
  lists.emplace(b, shape, schedule, rows);
  locate(b.id(tile::Id::BlockX));
  DocumentEdges edges;
  if (shape.documents)
    edges = loadDocumentEdges(b, documents, firstRow, rows.tokens);
  lists->read(tensor, batch, divideBy(head, shape.heads / shape.listHeads), firstRow, position,
              shape.documents ? &edges : nullptr);
}

KeyBlocks HopperTile::visitFrom(Val row) {
  Val position = row + double(shape.getOffset());
  if (!shape.documents)
    return math.visit(position, rows.tokens);
  DocumentEdges edges = loadDocumentEdges(b, documents, row, rows.tokens, shape.getDocumentSteps());
  KeyBlocks blocks = math.visit(position, rows.tokens, &edges);
  // Whatever the bounds hold, the roles take one step together.
  blocks.count = b.max(blocks.count, b.i32(1));
  return blocks;
}

void HopperTile::sortTiles(Val keys, Val order, int64_t threads) {
  Val thread = b.id(tile::Id::Thread), zero = b.i32(0), one = b.i32(1), tiles = b.i32(getTokenTiles());
  auto forEach = [&](function_ref<void(Val)> body) { b.forRange(thread, tiles, b.i32(threads), body); };
  // No two are equal.
  forEach([&](Val tile) {
    Val work = visitFrom(tile * double(rows.tokens)).count;
    b.store(work * double(getTokenTiles()) + tile, keys, {tile});
  });
  b.barrier();
  forEach([&](Val tile) {
    Val key = b.load(keys, {tile});
    Val place = b.forRange(zero, tiles, one, {zero}, [&](Val other, ArrayRef<Val> before) {
      return SmallVector<Val>{before[0] + b.cast(b.load(keys, {other}) > key, b.getI32Type())};
    })[0];
    b.store(tile, order, {place});
  });
  // The memory of the keys is written by copies next.
  tile::FenceAsyncOp::create(b);
  b.barrier();
  this->order = order;
}

/// Under a causal mask, and where they are sorted, the heads are cut into sections whose keys and values fit
/// L2, and a section's tiles start in the order of their work, the most first: the
/// last ones to end are short.
void HopperTile::locate(Val index) {
  int64_t blocks = getTokenTiles(), groups = shape.heads / rows.group, heads = groups * shape.batches;
  int64_t cluster = schedule.getCluster();
  Val block, flatHead;
  if (order || (shape.causal && shape.window <= 0 && !shape.hasBlocks())) {
    int64_t section =
        getHopperSection(schedule, shape.keys, shape.headDim + shape.valueDim, shape.heads / shape.kvHeads, heads);
    auto [head, tile] = walkSections(cluster > 1 ? index / double(cluster) : index, heads, section, blocks / cluster);
    block = order ? b.load(order, {tile}) : double(blocks / cluster - 1) - tile;
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
  visited = visitFrom(firstRow);
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

void HopperTile::locateGroup(Val groupRow) {
  groupPosition = position + groupRow;
  if (!shape.documents)
    return;
  Val row = firstRow + divideBy(groupRow, rows.group);
  if (!shape.hasBlocks())
    groupEdges = loadDocumentEdges(b, documents, row, kGroupRows, shape.getDocumentSteps());
  DocumentSide side = shape.causal ? DocumentSide::Starts : DocumentSide::Both;
  groupDocuments = loadDocumentRows(b, documents, row, kGroupRows, side, rows.group, shape.getDocumentSteps());
}

Val HopperTile::isInDocument(Val keys) { return shape.documents ? fresnel::isInDocument(groupDocuments, keys) : Val(); }

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
