internal import Base
internal import Compression
internal import Model

/// Looks at every record of a produced batch, in one piece or in as many as they come in, and keeps none of them.
struct RecordScan {
  private let baseTimestamp: Int64
  private let recordCount: Int
  private let accepted: ClosedRange<Int64>
  private let needsKeys: Bool

  private var count = 0
  private var maximum = Timestamp.none.rawValue
  private var refusals = RecordRefusals()
  /// The record of which only a part has come.
  private var split: SplitRecord?
  private var trailingByteCount = 0

  /// - Parameters:
  ///   - accepted: the timestamps that the topic takes.
  ///   - needsKeys: whether a record without a key is refused.
  init(header: BatchHeader, accepted: ClosedRange<Int64>, needsKeys: Bool) {
    self.baseTimestamp = header.baseTimestamp.rawValue
    self.recordCount = Int(header.recordCount)
    self.accepted = accepted
    self.needsKeys = needsKeys
  }

  /// Looks at the next bytes. Throws at the first that are no record of the batch; a record that the topic does not take is noted.
  mutating func read(_ bytes: UnsafeRawBufferPointer) throws(BatchRefusal) {
    var position = 0
    if self.split != nil { try self.readSplit(bytes, at: &position) }
    while self.count < self.recordCount, position < bytes.count {
      if let plain = PlainRecord(bytes, at: position) {
        position = plain.end
        try self.note(Int64(plain.timestampDelta), Int32(truncatingIfNeeded: plain.offsetDelta), hasKey: plain.hasKey)
        continue
      }
      let record: RawRecord
      do { record = try RawRecord(parsing: bytes, at: position) } catch {
        guard error == .truncated else { throw BatchRefusal(.malformedRecord(index: self.count, error)) }
        // It ends too soon, or with these bytes.
        self.split = SplitRecord()
        try self.readSplit(bytes, at: &position)
        continue
      }
      position = record.end
      try self.note(record.timestampDelta, record.offsetDelta, hasKey: record.hasKey)
    }
    self.trailingByteCount += bytes.count - position
  }

  /// After the last bytes: the largest timestamp.
  func finish() throws(BatchRefusal) -> Timestamp {
    guard self.count == self.recordCount else { throw BatchRefusal(.malformedRecord(index: self.count, .truncated)) }
    guard self.trailingByteCount == 0 else { throw BatchRefusal(.trailingBytes(self.trailingByteCount)) }
    if let refusal = self.refusals.refusal { throw refusal }
    return Timestamp(self.maximum)
  }

  private mutating func readSplit(_ bytes: UnsafeRawBufferPointer, at position: inout Int) throws(BatchRefusal) {
    do {
      guard try self.split!.read(bytes, at: &position) else { return }
    } catch {
      throw BatchRefusal(.malformedRecord(index: self.count, error))
    }
    let record = self.split!
    self.split = nil
    try self.note(record.timestampDelta, record.offsetDelta, hasKey: record.hasKey)
  }

  @inline(__always)
  private mutating func note(_ timestampDelta: Int64, _ offsetDelta: Int32, hasKey: Bool) throws(BatchRefusal) {
    let index = self.count
    self.count += 1
    guard Int(offsetDelta) == index else { throw BatchRefusal(.offsetDelta(index: index, delta: offsetDelta)) }
    let (timestamp, overflow) = self.baseTimestamp.addingReportingOverflow(timestampDelta)
    guard !overflow else { throw BatchRefusal(.timestampDelta(index: index, delta: timestampDelta)) }
    if timestamp > self.maximum { self.maximum = timestamp }
    if self.needsKeys, !hasKey {
      self.refusals.add(index, .invalidRecord, "A record of a compacted topic needs a key.")
    } else if timestamp != Timestamp.none.rawValue, !self.accepted.contains(timestamp) {
      self.refusals.add(index, .invalidTimestamp, "The record has \(Self.outOfRange(timestamp, self.accepted)).")
    }
  }

  static func outOfRange(_ timestamp: Int64, _ accepted: ClosedRange<Int64>) -> String {
    "the timestamp \(timestamp), outside the \(accepted.lowerBound) to \(accepted.upperBound) that the topic takes"
  }
}

/// A codec's output that is looked at as it comes, window by window, and not kept.
struct ScannedOutput: CompressionOutput {
  private let window: UnsafeMutableRawBufferPointer
  private(set) var scan: RecordScan
  /// What the records were refused for; the codec then stops.
  private(set) var refusal: BatchRefusal?

  /// - Parameter window: room for the codec, for as long as this lives.
  init(_ scan: RecordScan, window: UnsafeMutableRawBufferPointer) { (self.scan, self.window) = (scan, window) }

  var roomByteCountMax: Int { self.window.count }
  var wantsMore: Bool { self.refusal == nil }

  mutating func append<E: Error>(
    byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Int
  ) throws(E) {
    var room = self.window
    // A block of raw snappy, which takes no more than 22 times its input.
    if byteCount > room.count { room = .allocate(byteCount: byteCount, alignment: 16) }
    defer { if byteCount > self.window.count { room.deallocate() } }
    let count = try body(UnsafeMutableRawBufferPointer(rebasing: room[..<byteCount]))
    if self.refusal != nil { return }
    do throws(BatchRefusal) {
      try self.scan.read(UnsafeRawBufferPointer(rebasing: room[..<count]))
    } catch {
      self.refusal = error
    }
  }
}

/// The records found wrong so far. As in Kafka, one bad timestamp decides the batch's error code.
struct RecordRefusals {
  private var listed: [BatchRefusal.RecordRefusal] = []
  private var count = 0
  private var hasInvalidTimestamp = false

  mutating func add(_ index: Int, _ code: ErrorCode, _ message: @autoclosure () -> String) {
    self.count += 1
    if code == .invalidTimestamp { self.hasInvalidTimestamp = true }
    if self.listed.count < BatchRefusal.maximumRecordRefusals {
      self.listed.append(BatchRefusal.RecordRefusal(index: Int32(index), message: message()))
    }
  }

  var refusal: BatchRefusal? {
    guard let first = self.listed.first else { return nil }
    return BatchRefusal(
      self.hasInvalidTimestamp ? .invalidTimestamp : .invalidRecord,
      "\(self.count) of the batch's records are refused; record \(first.index): \(first.message)", records: self.listed)
  }
}
