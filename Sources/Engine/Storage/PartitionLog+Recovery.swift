import Base
import Environment
import LogCore
import Model
import Records

extension PartitionLog {
  /// Checks everything from the recovery point on, as nothing behind it is known to have reached the disk, and cuts the log
  /// before the first bad batch.
  mutating func recover(rebuildingEpochs: Bool, report: inout RecoveryReport) throws(StorageError) {
    let point = rebuildingEpochs ? self.segments[0].baseOffset : report.recoveryPoint
    self.recoveryPoint = min(report.recoveryPoint, point)
    var first = self.segmentIndex(for: point)
    // What a failed write left at the end of a segment was cut off, and the cut may be lost where the next segment was begun after it.
    if first > 0, self.segments[first].baseOffset == point { first -= 1 }
    self.leaderEpochs.truncate(toEnd: max(point, self.segments[first].baseOffset))
    var scanner = SegmentScanner<Disk>(isCredulous: self.store.makes(.recoversUnchecked))
    var hasChanged = false
    var index = first
    while index < self.segments.count {
      let scan = try scanner.scan(
        &self.segments[index], recoveryPoint: point, epochs: &self.leaderEpochs, interval: self.config.indexIntervalBytes, report: &report)
      self.logEndOffset = scan.nextOffset
      let countBefore = self.segments.count
      if let defect = scan.defect {
        hasChanged = true
        try self.cut(segment: index, at: scan.validEnd, defect: defect, report: &report)
        // One that goes on where this one ends lacks nothing: it was begun after a write here had failed.
        if index == self.activeIndex || self.segments[index + 1].baseOffset != scan.nextOffset {
          try self.dropSegments(after: index, reason: "the one before it is cut short", report: &report)
        }
      } else if index + 1 < self.segments.count, self.segments[index + 1].baseOffset > self.recoveryPoint,
        self.segments[index + 1].baseOffset != scan.nextOffset
      {
        // Whole batches at the end of a file can be lost without a trace in it. Gaps that compaction left lie below the point.
        try self.dropSegments(after: index, reason: "it does not begin where the one before it ends", report: &report)
      }
      hasChanged = hasChanged || self.segments.count < countBefore
      report.logEndOffset = self.logEndOffset
      if index < self.activeIndex { try self.segments[index].seal() }
      index += 1
    }
    self.leaderEpochsChanged = true
    if self.logEndOffset < report.recoveryPoint {
      report.notices.append(
        .syncedDataMissing(path: self.directory, recoveryPoint: report.recoveryPoint, logEndOffset: self.logEndOffset))
    }
    // A snapshot beyond the end tells of batches that are lost. Removed before the directory is synced: it must not come back.
    let end = self.logEndOffset
    if self.snapshots.contains(where: { $0 > end }) {
      hasChanged = true
      try self.removeSnapshots { $0 > end }
    }
    // What was read is durable since the directory was opened, unless an attempt before this one changed it: see `syncRetried`. What was
    // changed here is made so now: a loss of power must not bring back what was cut off, once something else has taken its place.
    if hasChanged { try self.syncRecovered(from: first) }
  }

  private mutating func cut(
    segment index: Int, at validEnd: Int64, defect: RecoveryScan.Defect, report: inout RecoveryReport
  ) throws(StorageError) {
    let removed = self.segments[index].byteCount - validEnd
    report.removedByteCount += removed
    report.notices.append(
      .tailTruncated(path: self.segments[index].log.path, keptByteCount: validEnd, removedByteCount: removed, defect: defect))
    try onDisk { () throws(DiskError) in try self.segments[index].log.open().truncate(to: validEnd) }
    self.segments[index].byteCount = validEnd
  }

  private mutating func dropSegments(after index: Int, reason: String, report: inout RecoveryReport) throws(StorageError) {
    while self.activeIndex > index {
      let segment = self.segments.removeLast()
      report.removedByteCount += segment.byteCount
      report.notices.append(.segmentRemoved(path: segment.log.path, reason: reason))
      segment.release()
      try onDisk { () throws(DiskError) in
        // The log last: as long as it is there, the next start finds and drops the segment again.
        for path in segment.paths.reversed() where try self.store.disk.kind(of: path) != nil { try self.store.disk.removeFile(path) }
      }
    }
  }

  /// Makes durable whatever an earlier attempt to open or make the log in this process left behind. That one may have failed between a
  /// cut and its sync, and what it cut looks whole to the next.
  mutating func syncRetried() throws(StorageError) {
    try self.syncRecovered(from: 0)
    let metadata = self.directory + "/" + LogFileName.partitionMetadata
    try onDisk { () throws(DiskError) in
      if try self.store.disk.kind(of: metadata) != nil { try self.store.disk.open(metadata, .readWrite).sync() }
    }
  }

  private mutating func syncRecovered(from first: Int) throws(StorageError) {
    try onDisk { () throws(DiskError) in
      for index in first..<self.segments.count { try self.segments[index].log.open().sync() }
      try self.store.disk.syncDirectory(self.directory)
      try self.store.names.sync()
    }
  }
}

/// Reads segments batch by batch and verifies their checksums.
struct SegmentScanner<Disk: DiskPort> {
  private static var windowByteCount: Int { 1 << 20 }
  /// A deliberate bug.
  private let isCredulous: Bool
  private var window: [UInt8] = []
  private var windowStart: Int64 = 0
  private var windowCount = 0
  private var windowFile: ObjectIdentifier?

  init(isCredulous: Bool) { self.isCredulous = isCredulous }

  /// Checks a segment from the last indexed batch below the recovery point on and makes its indexes anew from there.
  mutating func scan(
    _ segment: inout Segment<Disk>, recoveryPoint: Offset, epochs: inout LeaderEpochCache, interval: Int, report: inout RecoveryReport
  ) throws(StorageError) -> RecoveryScan {
    var scan = try Self.start(in: &segment, recoveryPoint: recoveryPoint, report: &report)
    let file = try onDisk { () throws(DiskError) in try segment.log.open() }
    if self.window.isEmpty { self.window = [UInt8](repeating: 0, count: Self.windowByteCount) }
    while scan.validEnd < segment.byteCount, scan.defect == nil {
      let position = scan.validEnd
      let header = try self.header(at: position, of: file, end: segment.byteCount)
      guard let total = scan.offer(header.map { RecoveryScan.Header($0) }, remaining: segment.byteCount - position), let header else {
        break
      }
      let matches = try self.checksum(of: file, at: position, byteCount: total) == header.crc || self.isCredulous
      report.scannedByteCount += total
      scan.accept(RecoveryScan.Header(header), byteCount: total, checksumMatches: matches)
      guard matches else { break }
      segment.note(header, at: position, interval: interval)
      if header.partitionLeaderEpoch > epochs.latestEpoch ?? .unknown {
        epochs.assign(header.partitionLeaderEpoch, startOffset: header.baseOffset)
      }
    }
    return scan
  }

  /// Where the scan begins: the indexes keep their entries up to there, if they can be trusted, and lose the others.
  private static func start(
    in segment: inout Segment<Disk>, recoveryPoint: Offset, report: inout RecoveryReport
  ) throws(StorageError) -> RecoveryScan {
    let fromStart = RecoveryScan(segmentBaseOffset: segment.baseOffset, position: 0, nextOffset: segment.baseOffset)
    guard recoveryPoint > segment.baseOffset else {
      segment.offsetIndex.reset()
      segment.timeIndex.reset()
      segment.resetTimes()
      return fromStart
    }
    do throws(StorageError) {
      // Synced before the recovery point passed them: what is not whole was damaged otherwise.
      try segment.offsetIndex.truncate { $0.offset < recoveryPoint }
      guard try segment.offsetIndex.isAscending() else {
        throw StorageError.corrupt(path: segment.offsetIndex.slot.path, position: 0, reason: "its entries do not ascend")
      }
      let last = try segment.offsetIndex.last()
      try segment.timeIndex.truncate { last != nil && $0.offset <= last!.offset }
      guard try segment.timeIndex.isAscending() else {
        throw StorageError.corrupt(path: segment.timeIndex.slot.path, position: 0, reason: "its entries do not ascend")
      }
      var pacing = IndexPacing()
      if let time = try segment.timeIndex.last() { (pacing.maxTimestamp, pacing.offsetOfMaxTimestamp) = (time.timestamp, time.offset) }
      segment.resetTimes(pacing)
      guard let last else { return fromStart }
      var cursor = try segment.cursor(from: last.position)
      guard last.position < segment.byteCount, let header = try cursor.peek(), header.lastOffset == last.offset else {
        throw StorageError.corrupt(path: segment.offsetIndex.slot.path, position: 0, reason: "its last entry does not lead to its batch")
      }
      return RecoveryScan(segmentBaseOffset: segment.baseOffset, position: last.position, nextOffset: header.baseOffset)
    } catch {
      guard case .corrupt(let path, _, let reason) = error else { throw error }
      report.notices.append(.indexRebuilt(path: path, reason: reason))
      segment.offsetIndex.reset()
      segment.timeIndex.reset()
      segment.resetTimes()
      return fromStart
    }
  }

  // MARK: Reading

  private mutating func fill(from position: Int64, of file: Disk.File) throws(StorageError) {
    (self.windowStart, self.windowFile) = (position, ObjectIdentifier(file))
    var failure: DiskError?
    self.windowCount = self.window.withUnsafeMutableBytes { buffer in
      do throws(DiskError) { return try file.read(into: buffer, at: position) } catch {
        failure = error
        return 0
      }
    }
    if let failure { throw .disk(failure) }
  }

  private func covers(_ position: Int64, _ count: Int, _ file: Disk.File) -> Bool {
    self.windowFile == ObjectIdentifier(file) && position >= self.windowStart
      && position + Int64(count) <= self.windowStart + Int64(self.windowCount)
  }

  private mutating func header(at position: Int64, of file: Disk.File, end: Int64) throws(StorageError) -> BatchHeader? {
    guard end - position >= Int64(BatchHeader.byteCount) else { return nil }
    if !self.covers(position, BatchHeader.byteCount, file) { try self.fill(from: position, of: file) }
    guard self.covers(position, BatchHeader.byteCount, file) else { return nil }
    let offset = Int(position - self.windowStart)
    return self.window.withUnsafeBytes { BatchHeader(reading: UnsafeRawBufferPointer(rebasing: $0[offset...])) }
  }

  /// The CRC-32C of the batch at `position`, read in pieces if it is larger than the window.
  private mutating func checksum(of file: Disk.File, at position: Int64, byteCount: Int64) throws(StorageError) -> UInt32 {
    var (crc, done) = (UInt32(0), position + Int64(BatchHeader.crcCoverageStart))
    let end = position + byteCount
    while done < end {
      if !self.covers(done, Int(min(end - done, Int64(Self.windowByteCount))), file) { try self.fill(from: done, of: file) }
      let offset = Int(done - self.windowStart)
      let count = min(self.windowCount - offset, Int(end - done))
      // The file ended in the middle: it is shorter than it was a moment ago.
      guard count > 0 else { return ~crc }
      crc = self.window.withUnsafeBytes {
        CRC32C.checksum(UnsafeRawBufferPointer(rebasing: $0[offset..<offset + count]), continuing: crc)
      }
      done += Int64(count)
    }
    return crc
  }
}

extension RecoveryScan.Header {
  init(_ header: BatchHeader) {
    self.init(
      baseOffset: header.baseOffset, batchLength: header.batchLength, magic: header.magic, lastOffsetDelta: header.lastOffsetDelta)
  }
}
