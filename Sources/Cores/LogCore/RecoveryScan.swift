package import Model

/// Walks a segment's batches after an unclean stop and says where what can be trusted ends.
///
/// The caller reads the file and offers one batch after the other; this decides. Everything before `validEnd` is a chain of
/// whole batches with good checksums and ascending offsets.
package struct RecoveryScan: Hashable, Sendable {
  /// Why the scan stopped before the end of the file.
  package enum Defect: Hashable, Sendable, CustomStringConvertible {
    /// Fewer bytes than a batch header, or than the header says.
    case cutShort
    /// Zeros: reserved or lost blocks that were never written.
    case zeros
    case invalidLength(Int32)
    case invalidMagic(Int8)
    case wrongChecksum
    /// The batch begins before the end of the one in front of it, or before the segment.
    case offsetNotAscending(Offset, expected: Offset)
    case invalidOffsetDelta(Int32)

    package var description: String {
      switch self {
      case .cutShort: "the last batch is cut short"
      case .zeros: "zeros follow the last batch"
      case .invalidLength(let length): "a batch length of \(length) is impossible"
      case .invalidMagic(let magic): "\(magic) is not a batch format this broker stores"
      case .wrongChecksum: "a batch's checksum is wrong"
      case .offsetNotAscending(let offset, let expected): "a batch begins at offset \(offset), expected \(expected) or more"
      case .invalidOffsetDelta(let delta): "a last offset delta of \(delta) is impossible"
      }
    }
  }

  /// The facts of a batch header that the scan needs.
  package struct Header: Hashable, Sendable {
    package var baseOffset: Offset
    package var batchLength: Int32
    package var magic: Int8
    package var lastOffsetDelta: Int32
    package init(baseOffset: Offset, batchLength: Int32, magic: Int8, lastOffsetDelta: Int32) {
      (self.baseOffset, self.batchLength, self.magic, self.lastOffsetDelta) = (baseOffset, batchLength, magic, lastOffsetDelta)
    }
  }

  package static let headerByteCount = 61
  /// The bytes that `batchLength` does not count.
  package static let logOverhead = 12

  package private(set) var validEnd: Int64
  package private(set) var nextOffset: Offset
  package private(set) var defect: Defect?
  private let segmentBaseOffset: Offset

  /// A scan that starts at `position` of the segment, where no batch may begin below `nextOffset`.
  package init(segmentBaseOffset: Offset, position: Int64, nextOffset: Offset) {
    (self.segmentBaseOffset, self.validEnd, self.nextOffset) = (segmentBaseOffset, position, nextOffset)
  }

  /// Judges a header at `validEnd` with `remaining` bytes from there to the end of the file. Returns the batch's size if its
  /// bytes are to be read and summed next; nil if the scan ends here (`defect` says why).
  package mutating func offer(_ header: Header?, remaining: Int64) -> Int64? {
    guard let header else { return self.stop(.cutShort) }
    if header.batchLength == 0, header.magic == 0 { return self.stop(.zeros) }
    let total = Int64(header.batchLength) + Int64(Self.logOverhead)
    guard total >= Int64(Self.headerByteCount) else { return self.stop(.invalidLength(header.batchLength)) }
    guard header.magic == 2 else { return self.stop(.invalidMagic(header.magic)) }
    guard header.lastOffsetDelta >= 0 else { return self.stop(.invalidOffsetDelta(header.lastOffsetDelta)) }
    let lowest = max(self.nextOffset, self.segmentBaseOffset)
    guard header.baseOffset >= lowest, header.baseOffset.rawValue < Int64.max - Int64(Int32.max),
      header.baseOffset + Int64(header.lastOffsetDelta) - self.segmentBaseOffset <= Int64(Int32.max)
    else { return self.stop(.offsetNotAscending(header.baseOffset, expected: lowest)) }
    guard total <= remaining else { return self.stop(.cutShort) }
    return total
  }

  /// Takes the batch in, once its checksum is known to be right or wrong.
  package mutating func accept(_ header: Header, byteCount: Int64, checksumMatches: Bool) {
    guard checksumMatches else {
      self.defect = .wrongChecksum
      return
    }
    self.validEnd += byteCount
    self.nextOffset = header.baseOffset + Int64(header.lastOffsetDelta) + 1
  }

  private mutating func stop(_ defect: Defect) -> Int64? {
    self.defect = defect
    return nil
  }
}
