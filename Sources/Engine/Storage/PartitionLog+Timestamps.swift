package import Compression
import Environment
import LogCore
package import Model
import NIOCore
import Records

/// An answer to ListOffsets: a record's offset, its time, and the leader epoch it was written in.
package struct TimestampedOffset: Hashable, Sendable {
  package var offset: Offset
  package var timestamp: Timestamp
  package var leaderEpoch: LeaderEpoch
}

extension PartitionLog {
  /// The first record, by offset, that is not older than `timestamp`; nil if there is none below `end`.
  ///
  /// Exact to the record: the time index leads to the batch, and the batch is read (and decompressed) for the record. Reads the
  /// indexes of old segments the first time: may take a few milliseconds then.
  package mutating func offset(
    forTimestamp timestamp: Timestamp, upTo end: Offset, using decompressor: Decompressor
  ) throws(StorageError) -> TimestampedOffset? {
    for index in self.segmentIndex(for: self.logStartOffset)..<self.segments.count {
      guard self.segments[index].byteCount > 0, self.segments[index].baseOffset < end else { continue }
      guard try self.maxTimestamp(in: index).timestamp >= timestamp else { continue }
      var start = self.logStartOffset
      try self.withIndexes(of: index) { segment throws(StorageError) in
        // Up to and with the batch of this entry everything is older.
        if let entry = try segment.timeIndex.last(where: { $0.timestamp < timestamp }) { start = max(start, entry.offset + 1) }
      }
      var cursor = try self.segments[index].cursor(from: try self.position(of: start, in: index))
      while true {
        let position = cursor.position
        guard let header = try cursor.next(), header.baseOffset < end else { break }
        guard header.maxTimestamp >= timestamp else { continue }
        if let found = try self.record(notOlderThan: timestamp, from: self.logStartOffset, header, at: position, in: index, decompressor) {
          return found.offset < end ? found : nil
        }
      }
    }
    return nil
  }

  /// The first of the youngest records (ListOffsets' "max timestamp"); nil if no record below `end` has a time.
  package mutating func offsetOfMaxTimestamp(upTo end: Offset, using decompressor: Decompressor) throws(StorageError) -> TimestampedOffset?
  {
    var best: (index: Int, offset: Offset, timestamp: Timestamp)?
    for index in self.segmentIndex(for: self.logStartOffset)..<self.segments.count where self.segments[index].byteCount > 0 {
      let (timestamp, offset) = try self.maxTimestamp(in: index)
      if timestamp.rawValue >= 0, timestamp > best?.timestamp ?? Timestamp.none { best = (index, offset, timestamp) }
    }
    guard let best else { return nil }
    if best.offset >= self.logStartOffset, best.offset < end {
      let position = try self.position(of: best.offset, in: best.index)
      var cursor = try self.segments[best.index].cursor(from: position)
      if let header = try cursor.next(),
        let found = try self.record(
          notOlderThan: best.timestamp, from: self.logStartOffset, header, at: position, in: best.index, decompressor)
      {
        return found
      }
    }
    // The youngest lies outside of what may be seen: the headers tell which is the youngest inside.
    return try self.visibleMaxTimestamp(upTo: end, using: decompressor)
  }

  private mutating func visibleMaxTimestamp(upTo end: Offset, using decompressor: Decompressor) throws(StorageError) -> TimestampedOffset? {
    var best: TimestampedOffset?
    for index in self.segmentIndex(for: self.logStartOffset)..<self.segments.count where self.segments[index].byteCount > 0 {
      var cursor = try self.segments[index].cursor(from: try self.position(of: self.logStartOffset, in: index), chunkByteCount: 65_536)
      while true {
        let position = cursor.position
        guard let header = try cursor.next(), header.baseOffset < end else { break }
        guard header.maxTimestamp > best?.timestamp ?? Timestamp.none else { continue }
        var records = try self.records(header, at: position, in: index, decompressor)
        while let record = try self.next(&records, at: position, in: index), record.offset < end {
          if record.offset >= self.logStartOffset, record.timestamp > best?.timestamp ?? Timestamp.none {
            best = TimestampedOffset(offset: record.offset, timestamp: record.timestamp, leaderEpoch: header.partitionLeaderEpoch)
          }
        }
      }
    }
    return best
  }

  /// The youngest time in a segment and the last offset of the first batch that has it; `.none` where records carry no time.
  private mutating func maxTimestamp(in index: Int) throws(StorageError) -> (timestamp: Timestamp, offset: Offset) {
    if !self.segments[index].knowsTimes {
      try self.withIndexes(of: index) { segment throws(StorageError) in _ = try segment.readTail() }
    }
    return (self.segments[index].pacing.maxTimestamp, self.segments[index].pacing.offsetOfMaxTimestamp)
  }

  private func record(
    notOlderThan timestamp: Timestamp, from start: Offset, _ header: BatchHeader, at position: Int64, in index: Int,
    _ decompressor: Decompressor
  ) throws(StorageError) -> TimestampedOffset? {
    var records = try self.records(header, at: position, in: index, decompressor)
    while let record = try self.next(&records, at: position, in: index) {
      if record.timestamp >= timestamp, record.offset >= start {
        return TimestampedOffset(offset: record.offset, timestamp: record.timestamp, leaderEpoch: header.partitionLeaderEpoch)
      }
    }
    return nil
  }

  private func records(
    _ header: BatchHeader, at position: Int64, in index: Int, _ decompressor: Decompressor
  ) throws(StorageError) -> RecordIterator {
    let segment = self.segments[index]
    let bytes = try onDisk { () throws(DiskError) in
      try SmallFile.bytes(of: segment.file(), at: position, count: header.totalByteCount)
    }
    do { return try RecordBatchView(frontOf: ByteBuffer(bytes: bytes)).records(using: decompressor) } catch {
      throw .corrupt(path: segment.log.path, position: position, reason: "\(error)")
    }
  }

  private func next(_ records: inout RecordIterator, at position: Int64, in index: Int) throws(StorageError) -> RecordView? {
    do { return try records.next() } catch {
      throw .corrupt(path: self.segments[index].log.path, position: position, reason: "\(error)")
    }
  }
}
