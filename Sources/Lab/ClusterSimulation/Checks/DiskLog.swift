import Base
import LogCore
import Model
import Records
import VirtualWorld

/// What lies of a partition's log on a node's disk, read from the bytes alone, whatever the node's process knows or is.
struct DiskLog: Sendable {
  struct Batch: Sendable, Hashable {
    var baseOffset: Offset
    var nextOffset: Offset
    var epoch: LeaderEpoch
    /// Of all of its bytes.
    var checksum: UInt32
  }

  private(set) var batches: [Batch] = []
  /// The base offset of the first segment, where there is one.
  private(set) var startOffset = Offset.zero
  /// Where whole batches end.
  private(set) var endOffset = Offset.zero

  /// - Parameters:
  ///   - durable: only what would be left if the power went now.
  ///   - lastSegmentOnly: enough to know where the log ends.
  init(_ partition: TopicPartition, on disk: FaultyDisk, durable: Bool, lastSegmentOnly: Bool = false) {
    let directory = "\(NodeSettings.dataDirectory)/\(partition)"
    var segments = disk.names(in: directory).compactMap { name -> (offset: Offset, name: String)? in
      guard let (offset, kind) = LogFileName.parse(name), kind == .log else { return nil }
      return (offset, name)
    }
    guard let first = segments.first else { return }
    self.startOffset = first.offset
    self.endOffset = first.offset
    if lastSegmentOnly, segments.count > 1 {
      // The last may be new, and its name not durable yet: then the one before it holds the end.
      segments = Array(segments.suffix(2))
    }
    for segment in segments {
      let path = "\(directory)/\(segment.name)"
      guard let contents = durable ? disk.durableContents(of: path) : disk.contents(of: path) else { continue }
      if segment.offset > self.endOffset, !lastSegmentOnly { return }
      self.endOffset = max(self.endOffset, segment.offset)
      if !self.read(contents) { return }
    }
  }

  /// False where the bytes end in the middle of a batch.
  private mutating func read(_ contents: [UInt8]) -> Bool {
    contents.withUnsafeBytes { bytes in
      var position = 0
      while position < bytes.count {
        let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
        guard let header = BatchHeader(reading: rest), header.batchLength >= 49, header.totalByteCount <= rest.count,
          header.magic == 2
        else { return false }
        let whole = UnsafeRawBufferPointer(rebasing: rest[..<header.totalByteCount])
        let covered = UnsafeRawBufferPointer(rebasing: whole[BatchHeader.crcCoverageStart...])
        guard CRC32C.checksum(covered) == header.crc else { return false }
        self.batches.append(
          Batch(
            baseOffset: header.baseOffset, nextOffset: header.nextOffset, epoch: header.partitionLeaderEpoch,
            checksum: CRC32C.checksum(whole)))
        self.endOffset = header.nextOffset
        position += header.totalByteCount
      }
      return true
    }
  }
}
