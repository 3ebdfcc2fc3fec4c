import Base
import Compression
import Model
import NIOCore
import Records
import Wire

/// What the fuzzer attacks. Each takes any bytes and must neither trap nor hang; where something decodes, encoding it and
/// decoding that again must give the same value.
enum FuzzTarget: String, CaseIterable {
  /// A connection's stream: frames, request headers, requests, in chunks as a socket gives them.
  case stream
  /// One message: the first two bytes choose which and in which version.
  case message
  /// The record data of a Produce request, as the broker checks it.
  case produce
  /// The record data of a Fetch answer, as a client walks it.
  case fetched
  /// One value of the metadata log.
  case metadata

  func run(_ bytes: UnsafeRawBufferPointer) {
    switch self {
    case .stream: Self.stream(bytes)
    case .message: Self.message(bytes)
    case .produce: Self.produce(bytes)
    case .fetched: Self.fetched(bytes)
    case .metadata: Self.metadata(bytes)
    }
  }

  private static func stream(_ bytes: UnsafeRawBufferPointer) {
    guard let step = bytes.first.map({ max(1, Int($0)) }) else { return }
    var splitter = FrameSplitter(frameByteCountMax: 1 << 20)
    var rest = ByteBuffer(bytes: bytes.dropFirst())
    while let chunk = rest.readSlice(length: min(step, rest.readableBytes)), chunk.readableBytes > 0 {
      splitter.receive(chunk)
      while case .frame(let frame) = splitter.next() { self.request(frame) }
    }
  }

  private static func request(_ frame: ByteBuffer) {
    var reader = WireReader(frame)
    guard let header = try? RequestHeader(from: &reader), let key = ApiKey(rawValue: header.apiKey),
      let type = WireCatalog.requests.first(where: { $0.apiKey == key }), type.supportedVersions.contains(header.apiVersion)
    else { return }
    _ = try? type.init(from: &reader, version: header.apiVersion)
  }

  private static func message(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= 2 else { return }
    let types: [any VersionedMessage.Type] =
      WireCatalog.requests + WireCatalog.responses + WireCatalog.metadataRecords + WireCatalog.records
    let type = types[Int(bytes[0]) % types.count]
    let versions = type.supportedVersions
    let version = versions.lowerBound + Int16(bytes[1]) % Int16(versions.count)
    self.roundTrip(type, ByteBuffer(bytes: bytes.dropFirst(2)), version)
  }

  private static func roundTrip<Message: VersionedMessage>(_ type: Message.Type, _ bytes: ByteBuffer, _ version: Int16) {
    guard let message = try? Message(decoding: bytes, version: version) else { return }
    let again = message.encoded(version: version).buffer
    guard let decoded = try? Message(decoding: again, version: version) else {
      fatalError("\(type) v\(version): cannot read what it wrote")
    }
    // Bytes, not values: a NaN is not equal to itself.
    precondition(decoded.encoded(version: version).buffer == again, "\(type) v\(version): two encodings of one value")
  }

  private static func produce(_ bytes: UnsafeRawBufferPointer) {
    let workspace = RecordWorkspace()
    for isCompacted in [false, true] {
      let validator = RecordBatchValidator(rules: BatchRules(isCompacted: isCompacted, maximumDecompressedByteCount: 1 << 20))
      for payload in [Array(bytes), Self.withChecksum(bytes)] {
        _ = try? validator.validate(
          ByteBuffer(bytes: payload), produceVersion: 9, now: Timestamp(1_700_000_000_000), workspace: workspace)
      }
    }
  }

  private static func fetched(_ bytes: UnsafeRawBufferPointer) {
    let decompressor = Decompressor()
    for payload in [Array(bytes), Self.withChecksum(bytes)] {
      var batches = BatchSequence(ByteBuffer(bytes: payload))
      while let batch = try? batches.next() {
        guard var records = try? batch.records(using: decompressor, limit: 1 << 20) else { continue }
        while let record = try? records.next() {
          var headers = record.headers
          while headers.next() != nil {}
        }
      }
    }
  }

  private static func metadata(_ bytes: UnsafeRawBufferPointer) {
    _ = try? MetadataRecord(decoding: ByteBuffer(bytes: bytes))
  }

  /// The same bytes as one batch whose length and CRC are right, so that the fuzzer gets behind them.
  private static func withChecksum(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
    var payload = Array(bytes)
    payload.withUnsafeMutableBytes { payload in
      guard var header = BatchHeader(reading: UnsafeRawBufferPointer(payload)) else { return }
      header.batchLength = Int32(payload.count - BatchHeader.logOverhead)
      header.magic = 2
      header.write(to: payload)
      header.crc = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: payload[BatchHeader.crcCoverageStart...]))
      header.write(to: payload)
    }
    return payload
  }
}
