/// MurmurHash2 with Kafka's seed: what producers place keyed records by, so that every client puts a key in the same partition
/// (`org.apache.kafka.common.utils.Utils.murmur2`).
package enum Murmur2 {
  /// The hash of the bytes, as the signed number Kafka treats it as.
  package static func hash(_ bytes: UnsafeRawBufferPointer) -> Int32 {
    let multiplier: UInt32 = 0x5BD1_E995
    var hash: UInt32 = 0x9747_B28C ^ UInt32(truncatingIfNeeded: bytes.count)
    var position = 0
    while position + 4 <= bytes.count {
      var word = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self))
      word &*= multiplier
      word ^= word >> 24
      word &*= multiplier
      hash = (hash &* multiplier) ^ word
      position += 4
    }
    if position < bytes.count {
      var shift: UInt32 = 0
      while position < bytes.count {
        hash ^= UInt32(bytes[position]) << shift
        shift += 8
        position += 1
      }
      hash &*= multiplier
    }
    hash ^= hash >> 13
    hash &*= multiplier
    hash ^= hash >> 15
    return Int32(bitPattern: hash)
  }

  /// The partition, from 0, that Kafka's default partitioner gives a record with this key. `partitionCount` must be positive.
  package static func partition(forKey key: UnsafeRawBufferPointer, partitionCount: Int32) -> Int32 {
    precondition(partitionCount > 0, "a topic has at least one partition")
    return (Self.hash(key) & 0x7FFF_FFFF) % partitionCount
  }
}
