import Environment
import Records

/// Walks the batch headers of a stretch of a segment that is known to be good, without reading the records.
struct BatchCursor<File: DiskFile> {
  private let file: File
  private let end: Int64
  private let path: String
  private let chunkByteCount: Int
  private var chunk: [UInt8] = []
  private var chunkStart: Int64 = 0
  /// Where the next batch begins.
  private(set) var position: Int64

  /// - Parameter chunkByteCount: how much is read at a time: little for a look-up, more for a walk through small batches.
  init(file: File, path: String, from position: Int64, to end: Int64, chunkByteCount: Int = 4096) {
    (self.file, self.path, self.position, self.end, self.chunkByteCount) = (file, path, position, end, chunkByteCount)
  }

  /// The header at `position`, without moving on. Nil at the end.
  mutating func peek() throws(StorageError) -> BatchHeader? {
    guard self.position < self.end else { return nil }
    let start = self.position - self.chunkStart
    if start < 0 || start + Int64(BatchHeader.byteCount) > Int64(self.chunk.count) {
      let count = Int(min(Int64(self.chunkByteCount), self.end - self.position))
      self.chunk = try onDisk { () throws(DiskError) in try SmallFile.bytes(of: self.file, at: self.position, count: count) }
      self.chunkStart = self.position
    }
    let offset = Int(self.position - self.chunkStart)
    guard let header = self.chunk.withUnsafeBytes({ BatchHeader(reading: UnsafeRawBufferPointer(rebasing: $0[offset...])) }) else {
      throw self.corrupt("a batch header is cut short")
    }
    guard header.magic == 2, header.batchLength >= Int32(BatchHeader.byteCount - BatchHeader.logOverhead), header.lastOffsetDelta >= 0
    else {
      throw self.corrupt("there is no batch header")
    }
    guard self.position + Int64(header.totalByteCount) <= self.end else { throw self.corrupt("a batch goes beyond the end of the segment") }
    return header
  }

  /// The header at `position`; moves on to the batch after it. Nil at the end.
  mutating func next() throws(StorageError) -> BatchHeader? {
    guard let header = try self.peek() else { return nil }
    self.position += Int64(header.totalByteCount)
    return header
  }

  private func corrupt(_ reason: String) -> StorageError { .corrupt(path: self.path, position: self.position, reason: reason) }
}
