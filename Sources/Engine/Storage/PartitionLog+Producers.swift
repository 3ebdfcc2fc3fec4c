import Environment
package import LogCore
package import Model
import Records

extension PartitionLog {
  /// The partition's idempotent producers. Reads a snapshot the first time, if the log was closed cleanly.
  package mutating func producerTable() throws(StorageError) -> ProducerTable {
    switch self.producers {
    case .loaded(let table): return table
    case .stored(let offset):
      var table = try self.loadSnapshot(at: offset)
      if table == nil { table = try self.rebuildProducers() }
      self.producers = .loaded(table!)
      return table!
    }
  }

  /// Forgets producers that were silent for `producer.id.expiration.ms`. Returns how many. Does nothing to a log that is idle
  /// since it was opened.
  @discardableResult
  package mutating func expireProducers(now: Timestamp) -> Int {
    guard case .loaded(var table) = self.producers else { return 0 }
    self.producers = .loaded(ProducerTable())
    defer { self.producers = .loaded(table) }
    return table.expire(now: now, after: self.config.producerIDExpiration)
  }

  /// The earlier append that `header` repeats, or nil if it is to be appended.
  mutating func earlierAppend(of header: BatchHeader, origin: AppendOrigin) throws(StorageError) -> AppendedBatch? {
    let table = try self.producerTable()
    do { return try table.check(ProducerBatch(header), origin: origin) } catch { throw .producer(error) }
  }

  mutating func recordProducer(_ header: BatchHeader) {
    switch self.producers {
    case .stored:
      // Nobody asked for the table yet, and this batch has no producer: the snapshot and the batches after it have it all.
      if header.producerID.rawValue < 0 { return }
      preconditionFailure("a producer's batch is checked against the table before it is appended")
    case .loaded(var table):
      // Moved out and back, so that the table is not copied.
      self.producers = .stored(at: .unknown)
      table.record(ProducerBatch(header))
      self.producers = .loaded(table)
    }
  }

  /// What is to be written as the snapshot of the log's end; nil if that stands already.
  mutating func producerSnapshotAtEnd() throws(StorageError) -> PendingSnapshot? {
    let newest = max(self.snapshots.last ?? .unknown, self.pendingSnapshots.last?.offset ?? .unknown)
    guard newest != self.logEndOffset else { return nil }
    return PendingSnapshot(offset: self.logEndOffset, bytes: ProducerSnapshot.encode(try self.producerTable()))
  }

  // MARK: Loading

  private func snapshotPath(_ offset: Offset) -> String { self.directory + "/" + LogFileName.name(offset, .producerSnapshot) }

  /// The table in the snapshot at `offset`; nil, with a notice, if it cannot be used. It is removed then.
  mutating func loadSnapshot(at offset: Offset) throws(StorageError) -> ProducerTable? {
    let path = self.snapshotPath(offset)
    guard let bytes = try onDisk({ () throws(DiskError) in try SmallFile.read(path, on: self.store.disk) }) else {
      self.snapshots.removeAll { $0 == offset }
      return nil
    }
    do { return try ProducerSnapshot.decode(bytes, endOffset: offset) } catch {
      self.pendingNotices.append(.snapshotDiscarded(path: path, reason: "\(error)"))
      self.snapshots.removeAll { $0 == offset }
      try onDisk { () throws(DiskError) in try self.store.disk.removeFile(path) }
      return nil
    }
  }

  /// Makes the table from the newest snapshot that can be used and the headers of the batches after it. Blocks.
  mutating func rebuildProducers() throws(StorageError) -> ProducerTable {
    if self.store.makes(.forgetsProducers) { return ProducerTable(endOffset: self.logEndOffset) }
    var table = ProducerTable(endOffset: self.segments[0].baseOffset)
    // One from before the first segment knows nothing of the batches in between: worse than none, for what it says is out of date.
    while let newest = self.snapshots.last(where: { $0 <= self.logEndOffset }), newest >= self.segments[0].baseOffset {
      if let stored = try self.loadSnapshot(at: newest) {
        table = stored
        break
      }
    }
    let start = table.endOffset
    for index in self.segmentIndex(for: start)..<self.segments.count where self.segments[index].byteCount > 0 {
      let position = start > self.segments[index].baseOffset ? try self.position(of: start, in: index) : 0
      var cursor = try self.segments[index].cursor(from: position, chunkByteCount: 65_536)
      while let header = try cursor.next() { table.record(ProducerBatch(header)) }
    }
    table.advance(to: self.logEndOffset)
    return table
  }
}

extension ProducerBatch {
  init(_ header: BatchHeader) {
    self.init(
      producerID: header.producerID, epoch: header.producerEpoch, baseSequence: header.baseSequence, lastSequence: header.lastSequence,
      baseOffset: header.baseOffset, lastOffset: header.lastOffset, maxTimestamp: header.maxTimestamp,
      isTransactional: header.attributes.isTransactional, isControl: header.attributes.isControl)
  }
}
