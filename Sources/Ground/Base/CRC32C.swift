internal import CISAL

/// CRC-32C (Castagnoli), the checksum of Kafka's record batches, computed by ISA-L at memory speed.
package enum CRC32C {
  /// The checksum of `bytes`, continuing from `previous` (a value this function returned for the bytes before them).
  package static func checksum(_ bytes: UnsafeRawBufferPointer, continuing previous: UInt32 = 0) -> UInt32 {
    guard var cursor = bytes.baseAddress else { return previous }
    var crc = ~previous
    var remaining = bytes.count
    while remaining > 0 {
      // The C function takes an `int` length; a buffer beyond 1 GiB is summed in pieces.
      let piece = min(remaining, 1 << 30)
      let start = UnsafeMutablePointer(mutating: cursor.assumingMemoryBound(to: UInt8.self))
      crc = crc32_iscsi(start, Int32(piece), crc)
      cursor += piece
      remaining -= piece
    }
    return ~crc
  }
}
