import Base
import Records

/// The CRC-32C of a batch against what its header says.
enum BatchChecksum {
  /// - Parameter batch: the whole batch, header included.
  static func matches(_ header: BatchHeader, _ batch: UnsafeRawBufferPointer) -> Bool {
    CRC32C.checksum(UnsafeRawBufferPointer(rebasing: batch[BatchHeader.crcCoverageStart...])) == header.crc
  }
}
