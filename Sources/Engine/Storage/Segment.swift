import Environment
import LogCore
import Model
import Records

/// One segment of a partition's log: its file, its indexes, and what is known of its contents.
struct Segment<Disk: DiskPort>: Sendable {
  let baseOffset: Offset
  let log: FileSlot<Disk>
  var offsetIndex: IndexFile<OffsetIndexEntry, Disk>
  var timeIndex: IndexFile<TimeIndexEntry, Disk>
  /// Where the next batch goes: the bytes of the file that count.
  var byteCount: Int64 = 0
  /// How much of that is known to be durable.
  var syncedByteCount: Int64 = 0
  /// Up to where blocks were reserved; 0 if none were.
  var reservedByteCount: Int64 = 0
  /// Index pacing and youngest timestamp; for the active segment always true, for others when `knowsTimes`.
  var pacing = IndexPacing()
  var knowsTimes: Bool
  /// The timestamp of the time index's last entry; true when `knowsTimes`.
  private var lastIndexedTimestamp = Timestamp.none
  /// The maximum timestamp of the first batch; nil until it is read.
  var firstTimestamp: Timestamp?
  /// When the segment was made, opened or last written by this process, by the wall clock.
  var lastTouched: Timestamp
  var createdAt: Timestamp
  /// Holds the file open while it has bytes that are not synced.
  var unsyncedFile: Disk.File?

  init(baseOffset: Offset, directory: String, files: OpenFileCache<Disk>, isNew: Bool, now: Timestamp) {
    func slot(_ kind: LogFileName.Kind) -> FileSlot<Disk> {
      FileSlot(path: directory + "/" + LogFileName.name(baseOffset, kind), cache: files)
    }
    self.baseOffset = baseOffset
    self.log = slot(.log)
    self.offsetIndex = IndexFile(slot: slot(.offsetIndex), baseOffset: baseOffset, isNew: isNew)
    self.timeIndex = IndexFile(slot: slot(.timeIndex), baseOffset: baseOffset, isNew: isNew)
    self.knowsTimes = isNew
    self.firstTimestamp = nil
    self.createdAt = now
    self.lastTouched = now
  }

  var rollRule: RollRule {
    RollRule(
      segmentBaseOffset: self.baseOffset, segmentByteCount: self.byteCount, firstTimestamp: self.firstTimestamp ?? .none,
      createdAt: self.createdAt, offsetIndexEntryCount: self.offsetIndex.knownCount, timeIndexEntryCount: self.timeIndex.knownCount)
  }

  var isUnsynced: Bool { self.syncedByteCount < self.byteCount }

  func file() throws(DiskError) -> Disk.File {
    if let file = self.unsyncedFile { return file }
    return try self.log.open()
  }

  func cursor(from position: Int64, to end: Int64? = nil, chunkByteCount: Int = 4096) throws(StorageError) -> BatchCursor<Disk.File> {
    let file = try onDisk { () throws(DiskError) in try self.file() }
    return BatchCursor(file: file, path: self.log.path, from: position, to: end ?? self.byteCount, chunkByteCount: chunkByteCount)
  }

  /// Takes a batch into the indexes of a segment that `knowsTimes`. `byteCount` is not touched.
  mutating func note(_ header: BatchHeader, at position: Int64, interval: Int) {
    if position == 0 { self.firstTimestamp = header.maxTimestamp }
    let isDue = self.pacing.note(
      byteCount: header.totalByteCount, lastOffset: header.lastOffset, maxTimestamp: header.maxTimestamp, interval: interval)
    if isDue {
      self.offsetIndex.append(OffsetIndexEntry(offset: header.lastOffset, position: position))
      self.noteTime()
    }
  }

  /// Adds the youngest timestamp so far to the time index, if it is news to it.
  mutating func noteTime() {
    guard self.pacing.maxTimestamp > self.lastIndexedTimestamp else { return }
    self.lastIndexedTimestamp = self.pacing.maxTimestamp
    self.timeIndex.append(TimeIndexEntry(timestamp: self.pacing.maxTimestamp, offset: self.pacing.offsetOfMaxTimestamp))
  }

  /// Begins anew, as for an empty segment.
  mutating func resetTimes(_ pacing: IndexPacing = IndexPacing()) {
    self.pacing = pacing
    self.lastIndexedTimestamp = pacing.maxTimestamp
    self.firstTimestamp = nil
    self.knowsTimes = true
  }

  /// Makes the indexes anew from the batches' headers.
  mutating func rebuildIndexes(interval: Int) throws(StorageError) {
    self.offsetIndex.reset()
    self.timeIndex.reset()
    self.resetTimes()
    var cursor = try self.cursor(from: 0, chunkByteCount: 65_536)
    while true {
      let position = cursor.position
      guard let header = try cursor.next() else { break }
      self.note(header, at: position, interval: interval)
    }
  }

  /// Learns what appending to the segment or judging its age needs, from the indexes and the headers behind their last entry.
  /// Returns the offset after the last batch.
  ///
  /// Throws `.corrupt` if the offset index does not fit the log, or the headers do not end where the file ends.
  mutating func readTail() throws(StorageError) -> Offset {
    var nextOffset = self.baseOffset
    var pacing = IndexPacing()
    if let time = try self.timeIndex.last() {
      guard time.offset >= self.baseOffset else { throw self.corruptIndex("its last entry is out of range") }
      (pacing.maxTimestamp, pacing.offsetOfMaxTimestamp) = (time.timestamp, time.offset)
    }
    self.resetTimes(pacing)
    let last = try self.offsetIndex.last()
    var cursor = try self.cursor(from: last?.position ?? 0)
    if let last {
      guard last.position > 0, last.position < self.byteCount, let header = try cursor.peek(), header.lastOffset == last.offset else {
        throw self.corruptIndex("its last entry does not lead to a batch that ends with offset \(last.offset)")
      }
    }
    while let header = try cursor.next() {
      guard header.baseOffset >= nextOffset else { throw self.corruptIndex("it leads to offsets that do not ascend") }
      _ = self.pacing.note(
        byteCount: header.totalByteCount, lastOffset: header.lastOffset, maxTimestamp: header.maxTimestamp, interval: .max)
      nextOffset = header.nextOffset
    }
    return nextOffset
  }

  private func corruptIndex(_ reason: String) -> StorageError {
    .corrupt(path: self.offsetIndex.slot.path, position: 0, reason: reason)
  }

  /// Makes a segment ready for a life without appends: indexes complete and written, reserved blocks given back.
  mutating func seal() throws(StorageError) {
    if self.knowsTimes { self.noteTime() }
    try onDisk { () throws(DiskError) in
      try self.offsetIndex.write(evenIfEmpty: true)
      try self.timeIndex.write(evenIfEmpty: true)
      try self.trim()
    }
  }

  /// Gives blocks that were reserved beyond the end back.
  mutating func trim() throws(DiskError) {
    guard self.reservedByteCount > self.byteCount else { return }
    try self.file().truncate(to: self.byteCount)
    self.reservedByteCount = 0
  }

  func release() {
    self.log.release()
    self.offsetIndex.slot.release()
    self.timeIndex.slot.release()
  }

  /// The paths of the segment's files.
  var paths: [String] { [self.log.path, self.offsetIndex.slot.path, self.timeIndex.slot.path] }
}
