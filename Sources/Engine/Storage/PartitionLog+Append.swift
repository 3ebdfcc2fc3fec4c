import Environment
package import LogCore
package import Model
package import NIOCore
package import Records

/// Where a batch went.
package struct AppendResult: Hashable, Sendable {
  package var baseOffset: Offset
  package var lastOffset: Offset
  /// The batch's youngest timestamp: as appended, or of the earlier append if this was a repetition.
  package var maxTimestamp: Timestamp
  package var logStartOffset: Offset
  /// The batch had been appended before (idempotent producer); nothing was written, and the offsets are those it got then.
  package var isDuplicate: Bool
  /// A segment was closed: worth a flush of it and a checkpoint in the background.
  package var didRoll: Bool
}

extension PartitionLog {
  /// Appends one batch at the end of the log, giving it its offsets.
  ///
  /// - Parameters:
  ///   - header: the validated header of the batch. Base offset and leader epoch are set here; everything else is stored as
  ///     given, so a changed timestamp type must have its checksum with it.
  ///   - batch: the batch as received, its own header included; its bytes after the header go to the file as they are.
  ///   - leaderEpoch: this leader's epoch.
  ///
  /// If the disk refuses (full, say) the log is as before and `.disk` is thrown; only if the torn write cannot be undone the
  /// log goes offline.
  package mutating func append(
    _ header: BatchHeader, batch: ByteBuffer, leaderEpoch: LeaderEpoch, origin: AppendOrigin = .client, now: Timestamp
  ) throws(StorageError) -> AppendResult {
    try self.requireOnline()
    guard batch.readableBytes == header.totalByteCount, batch.readableBytes >= BatchHeader.byteCount, header.lastOffsetDelta >= 0 else {
      throw .invalidBatch(reason: "its length field says \(header.totalByteCount) bytes, but it has \(batch.readableBytes)")
    }
    try self.checkSize(header.totalByteCount)
    var header = header
    header.baseOffset = self.logEndOffset
    header.partitionLeaderEpoch = leaderEpoch
    if header.producerID.rawValue >= 0, let earlier = try self.earlierAppend(of: header, origin: origin) {
      return AppendResult(
        baseOffset: earlier.baseOffset, lastOffset: earlier.lastOffset, maxTimestamp: earlier.timestamp,
        logStartOffset: self.logStartOffset, isDuplicate: true, didRoll: false)
    }
    let didRoll = try self.rollIfNeeded(
      for: header.totalByteCount, lastOffset: header.lastOffset, maxTimestamp: header.maxTimestamp, now: now)
    try self.write(header, body: batch, now: now)
    self.noteAppended(header)
    return AppendResult(
      baseOffset: header.baseOffset, lastOffset: header.lastOffset, maxTimestamp: header.maxTimestamp,
      logStartOffset: self.logStartOffset, isDuplicate: false, didRoll: didRoll)
  }

  /// Appends a batch that the validator has passed.
  package mutating func append(
    _ batch: ValidatedBatch, leaderEpoch: LeaderEpoch, origin: AppendOrigin = .client, now: Timestamp
  ) throws(StorageError) -> AppendResult {
    try self.append(
      batch.patchedHeader(baseOffset: self.logEndOffset, leaderEpoch: leaderEpoch), batch: batch.bytes, leaderEpoch: leaderEpoch,
      origin: origin, now: now)
  }

  /// Appends batches that have their offsets and leader epochs already, as fetched from the partition's leader (or made by the
  /// metadata log's). All of `batches` or nothing is appended, but for a disk that fails between two segments.
  ///
  /// Every batch is checked for its length, format, checksum and for offsets that ascend from the log's end; a gap is allowed,
  /// since compaction leaves them. A cut-short batch at the end, as fetches have them, is passed over. Returns nil if there is no
  /// whole batch.
  package mutating func appendAsFollower(_ batches: ByteBuffer, now: Timestamp) throws(StorageError) -> AppendResult? {
    try self.requireOnline()
    let headers = try self.checkReplicated(batches)
    guard let first = headers.first, let last = headers.last else { return nil }
    var result = AppendResult(
      baseOffset: first.baseOffset, lastOffset: last.lastOffset, maxTimestamp: .none, logStartOffset: self.logStartOffset,
      isDuplicate: false, didRoll: false)
    // Loaded now, since a batch that is written must be noted, whatever happens.
    if headers.contains(where: { $0.producerID.rawValue >= 0 }) { _ = try self.producerTable() }
    var rest = batches
    for header in headers {
      let batch = rest.readSlice(length: header.totalByteCount)!
      let didRoll = try self.rollIfNeeded(
        for: header.totalByteCount, lastOffset: header.lastOffset, maxTimestamp: header.maxTimestamp, now: now)
      try self.write(header, body: batch, now: now)
      self.noteAppended(header)
      result.didRoll = result.didRoll || didRoll
      result.maxTimestamp = max(result.maxTimestamp, header.maxTimestamp)
    }
    return result
  }

  private func checkReplicated(_ batches: ByteBuffer) throws(StorageError) -> [BatchHeader] {
    var headers: [BatchHeader] = []
    var failure: StorageError?
    var expected = self.logEndOffset
    batches.withUnsafeReadableBytes { bytes in
      var rest = bytes
      while let header = BatchHeader(reading: rest) {
        guard header.magic == 2, header.batchLength >= Int32(BatchHeader.byteCount - BatchHeader.logOverhead), header.lastOffsetDelta >= 0
        else {
          failure = .invalidBatch(reason: "there is no batch header of format 2 where one should be")
          return
        }
        guard header.totalByteCount <= rest.count else { break }
        let batch = UnsafeRawBufferPointer(rebasing: rest[..<header.totalByteCount])
        guard BatchChecksum.matches(header, batch) else {
          failure = .invalidBatch(reason: "the checksum of the batch at offset \(header.baseOffset) is wrong")
          return
        }
        guard header.baseOffset >= expected else {
          failure = .unexpectedOffset(header.baseOffset, expected: expected)
          return
        }
        guard header.totalByteCount <= self.config.segmentBytes else {
          failure = .batchTooLarge(byteCount: header.totalByteCount, limit: self.config.segmentBytes)
          return
        }
        headers.append(header)
        expected = header.nextOffset
        rest = UnsafeRawBufferPointer(rebasing: rest[header.totalByteCount...])
      }
    }
    if let failure { throw failure }
    return headers
  }

  private func checkSize(_ byteCount: Int) throws(StorageError) {
    guard byteCount <= self.config.segmentBytes else { throw .batchTooLarge(byteCount: byteCount, limit: self.config.segmentBytes) }
  }

  /// Writes a batch at the end of the active segment: `header` instead of the first 61 bytes of `body`, in one system call.
  private mutating func write(_ header: BatchHeader, body: ByteBuffer, now: Timestamp) throws(StorageError) {
    let index = self.activeIndex
    let position = self.segments[index].byteCount
    let end = position + Int64(body.readableBytes)
    let file = try onDisk { () throws(DiskError) in try self.segments[index].file() }
    if self.config.reservesAhead,
      let target = ReservationRule.reservation(
        endPosition: end, reserved: self.segments[index].reservedByteCount, segmentBytes: self.config.segmentBytes)
    {
      // Only a hint: where it fails, the write itself says whether there is room.
      do throws(DiskError) { try file.reserve(upTo: target) } catch {}
      self.segments[index].reservedByteCount = target
    }
    var failure: DiskError?
    body.withUnsafeReadableBytes { bytes in
      withUnsafeTemporaryAllocation(byteCount: BatchHeader.byteCount, alignment: 8) { head in
        header.write(to: head)
        do throws(DiskError) {
          try file.write(UnsafeRawBufferPointer(head), UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.byteCount...]), at: position)
        } catch {
          failure = error
        }
      }
    }
    if let failure {
      self.undoTornWrite(file, at: index, failure)
      throw .disk(failure)
    }
    self.segments[index].byteCount = end
    self.segments[index].lastTouched = now
    if self.config.holdsUnsyncedFiles, self.segments[index].unsyncedFile == nil { self.segments[index].unsyncedFile = file }
  }

  /// Cuts what a failed write may have left off the file.
  private mutating func undoTornWrite(_ file: Disk.File, at index: Int, _ failure: DiskError) {
    do throws(DiskError) {
      try file.truncate(to: self.segments[index].byteCount)
      self.segments[index].reservedByteCount = 0
      // The cut has to be synced with what comes next, also if that is in another segment.
      self.segments[index].syncedByteCount = min(self.segments[index].syncedByteCount, self.segments[index].byteCount - 1)
    } catch {
      self.takeOffline("\(failure); and what was written of the batch cannot be removed: \(error)")
    }
  }

  /// Takes a batch that is in the file into indexes, epochs, producers and the end offset.
  private mutating func noteAppended(_ header: BatchHeader) {
    let index = self.activeIndex
    let position = self.segments[index].byteCount - Int64(header.totalByteCount)
    self.segments[index].note(header, at: position, interval: self.config.indexIntervalBytes)
    if header.partitionLeaderEpoch > self.leaderEpochs.latestEpoch ?? .unknown,
      self.leaderEpochs.assign(header.partitionLeaderEpoch, startOffset: header.baseOffset)
    {
      self.leaderEpochsChanged = true
    }
    self.logEndOffset = header.nextOffset
    self.recordProducer(header)
  }

  // MARK: Rolling

  /// Closes the active segment if the rule says so. True if it did.
  private mutating func rollIfNeeded(
    for byteCount: Int, lastOffset: Offset, maxTimestamp: Timestamp, now: Timestamp
  ) throws(StorageError) -> Bool {
    let index = self.activeIndex
    if self.segments[index].byteCount > 0, self.segments[index].firstTimestamp == nil {
      var cursor = try self.segments[index].cursor(from: 0, chunkByteCount: BatchHeader.byteCount)
      self.segments[index].firstTimestamp = try cursor.peek()?.maxTimestamp ?? Timestamp.none
    }
    let reason = self.segments[index].rollRule.reason(
      toRollFor: byteCount, lastOffset: lastOffset, maxTimestamp: maxTimestamp, config: self.config, now: now)
    guard reason != nil else { return false }
    try self.rollActive(now: now)
    return true
  }

  /// Closes the active segment and begins a new one at the log's end. Does nothing to an empty segment that begins there.
  package mutating func roll(now: Timestamp) throws(StorageError) {
    try self.requireOnline()
    try self.rollActive(now: now)
  }

  mutating func rollActive(now: Timestamp) throws(StorageError) {
    let index = self.activeIndex
    guard self.segments[index].baseOffset < self.logEndOffset else { return }
    let snapshot = try self.producerSnapshotAtEnd()
    try self.addSegment(now: now)
    if let snapshot { self.pendingSnapshots.append(snapshot) }
    // The new segment stands; indexes that cannot be written now stay in memory, and the next checkpoint tries again.
    do { try self.segments[index].seal() } catch {
      guard case .disk = error else { throw error }
    }
    self.segments[index].offsetIndex.dropMemory()
    self.segments[index].timeIndex.dropMemory()
  }
}
