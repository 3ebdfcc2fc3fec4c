package import Environment
import LogCore
package import Model
import Records

/// A run of whole batches in one segment file: to be sent from the file, or read into memory.
///
/// The file stays open as long as the slice lives, also when its segment is deleted meanwhile.
package struct LogSlice<File: DiskFile>: Sendable {
  /// Nil if the slice is empty.
  package var file: File?
  /// The first byte of the slice in the file.
  package var position: Int64
  package var byteCount: Int
  /// The offset after the last batch of the slice: where to read on. The requested offset if the slice is empty.
  package var nextOffset: Offset

  package var isEmpty: Bool { self.byteCount == 0 }

  /// Reads the slice's bytes into memory.
  package func bytes() throws(DiskError) -> [UInt8] {
    guard let file = self.file else { return [] }
    return try SmallFile.bytes(of: file, at: self.position, count: self.byteCount)
  }
}

extension PartitionLog {
  /// The whole batches from the one that holds `offset` on, up to `maxBytes`, below `end`, within one segment.
  ///
  /// - Parameters:
  ///   - end: exclusive: the high watermark, the last stable offset or the log's end. A batch that reaches beyond is left out.
  ///   - minOneBatch: returns the first batch whole even if it is larger than `maxBytes` (KIP-74). Otherwise the slice is empty then.
  ///
  /// The first batch may begin before `offset`. An empty slice: nothing is there yet. Throws `.offsetOutOfRange` unless
  /// `logStartOffset <= offset <= logEndOffset`.
  package mutating func read(
    from offset: Offset, maxBytes: Int, upTo end: Offset, minOneBatch: Bool
  ) throws(StorageError) -> LogSlice<Disk.File> {
    guard offset >= self.logStartOffset, offset <= self.logEndOffset else {
      throw .offsetOutOfRange(requested: offset, logStartOffset: self.logStartOffset, logEndOffset: self.logEndOffset)
    }
    var end = min(end, self.logEndOffset)
    switch self.state {
    case .online: break
    case .deleted: throw .notFound(path: self.directory)
    case .offline(let reason):
      // After a failed sync only what was synced before is what it seems to be.
      guard offset < self.flushedOffset else { throw .offline(path: self.directory, reason: reason) }
      end = min(end, self.flushedOffset)
    }
    guard offset < end, maxBytes > 0 || minOneBatch else {
      return LogSlice(file: nil, position: 0, byteCount: 0, nextOffset: offset)
    }
    var index = self.segmentIndex(for: offset)
    while true {
      if let slice = try self.read(from: offset, maxBytes: maxBytes, upTo: end, minOneBatch: minOneBatch, segment: index) { return slice }
      // Compaction may have removed the records from here to the segment's end: the next one goes on.
      index += 1
      guard index < self.segments.count, self.segments[index].baseOffset < end else {
        return LogSlice(file: nil, position: 0, byteCount: 0, nextOffset: offset)
      }
    }
  }

  /// Nil if the segment has no batch that ends at `offset` or later.
  private mutating func read(
    from offset: Offset, maxBytes: Int, upTo end: Offset, minOneBatch: Bool, segment index: Int
  ) throws(StorageError) -> LogSlice<Disk.File>? {
    let baseOffset = self.segments[index].baseOffset
    let segmentEnd = index == self.activeIndex ? self.logEndOffset : self.segments[index + 1].baseOffset
    let start = try self.position(of: offset, in: index)
    guard start < self.segments[index].byteCount else { return nil }
    let limit = end >= segmentEnd ? self.segments[index].byteCount : try self.position(of: end, in: index)
    var slice = LogSlice<Disk.File>(file: nil, position: start, byteCount: 0, nextOffset: offset)
    guard limit > start else { return slice }
    let stop: Boundary
    if limit - start <= Int64(maxBytes) {
      stop = Boundary(offset: min(end, segmentEnd), segmentBaseOffset: baseOffset, position: limit)
    } else {
      let cut = try self.boundary(atOrBefore: start + Int64(maxBytes), from: start, limit: limit, minOneBatch: minOneBatch, in: index)
      guard let cut else { return slice }
      stop = cut
    }
    self.boundaries.rememberRead(stop, insteadOf: offset)
    slice.file = try onDisk { () throws(DiskError) in try self.segments[index].file() }
    slice.byteCount = Int(stop.position - start)
    slice.nextOffset = stop.offset
    return slice
  }

  /// Where the batch that holds `offset` begins in a segment, or the first one after it. The segment's end if there is none.
  mutating func position(of offset: Offset, in index: Int) throws(StorageError) -> Int64 {
    let baseOffset = self.segments[index].baseOffset
    if offset <= baseOffset { return 0 }
    if index == self.activeIndex, offset >= self.logEndOffset { return self.segments[index].byteCount }
    if let known = self.boundaries[offset], known.segmentBaseOffset == baseOffset { return known.position }
    return try self.withIndexes(of: index) { segment throws(StorageError) in
      let entry = try segment.offsetIndex.last { $0.offset <= offset }
      var cursor = try segment.cursor(from: entry?.position ?? 0)
      if let entry {
        guard let header = try cursor.peek(), header.lastOffset == entry.offset else {
          throw .corrupt(path: segment.offsetIndex.slot.path, position: 0, reason: "an entry does not lead to its batch")
        }
      }
      while true {
        let position = cursor.position
        guard let header = try cursor.next() else { return segment.byteCount }
        if header.lastOffset >= offset { return position }
      }
    }
  }

  /// The last batch boundary at or before `target`, which lies between `start` (a boundary) and `limit`. If the first batch goes
  /// beyond `target`: its end with `minOneBatch`, otherwise nil.
  private mutating func boundary(
    atOrBefore target: Int64, from start: Int64, limit: Int64, minOneBatch: Bool, in index: Int
  ) throws(StorageError) -> Boundary? {
    try self.withIndexes(of: index) { segment throws(StorageError) in
      let entry = try segment.offsetIndex.last { $0.position <= target }
      let origin = max(start, entry?.position ?? 0)
      var cursor = try segment.cursor(from: origin, to: limit)
      var last: BatchHeader?
      while let header = try cursor.peek(), cursor.position + Int64(header.totalByteCount) <= target {
        last = header
        _ = try cursor.next()
      }
      if let last { return Boundary(offset: last.nextOffset, segmentBaseOffset: segment.baseOffset, position: cursor.position) }
      // The batch at `origin` itself goes beyond the target, so `origin` is the boundary, if it is not where we start.
      guard let first = try cursor.next() else { return nil }
      if origin > start { return Boundary(offset: first.baseOffset, segmentBaseOffset: segment.baseOffset, position: origin) }
      guard minOneBatch else { return nil }
      return Boundary(offset: first.nextOffset, segmentBaseOffset: segment.baseOffset, position: cursor.position)
    }
  }

  /// Runs a look-up. If it finds an index file missing or wrong, the segment's indexes are made anew and it is run again.
  mutating func withIndexes<Result>(
    of index: Int, _ lookUp: (inout Segment<Disk>) throws(StorageError) -> Result
  ) throws(StorageError) -> Result {
    do {
      return try lookUp(&self.segments[index])
    } catch {
      guard case .corrupt(let path, _, let reason) = error else { throw error }
      try self.segments[index].rebuildIndexes(interval: self.config.indexIntervalBytes)
      self.pendingNotices.append(.indexRebuilt(path: path, reason: reason))
      return try lookUp(&self.segments[index])
    }
  }
}
