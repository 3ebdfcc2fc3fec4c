import Base
import Testing

/// Keys, hashes and partitions of 7 and of 100 as kafka-python 3.0.12 computes them; lengths of every remainder by 4.
private let examples: [([UInt8], Int32, Int32, Int32)] = [
  ([], 275_646_681, 2, 81),
  (Array("a".utf8), -1_563_381_124, 5, 24),
  (Array("ab".utf8), 316_155_434, 0, 34),
  (Array("abc".utf8), 479_470_107, 4, 7),
  (Array("abcd".utf8), -1_323_649_548, 5, 0),
  (Array("21".utf8), -973_932_308, 3, 40),
  (Array("foobar".utf8), -790_332_482, 0, 66),
  (Array("a-little-bit-long-string".utf8), -985_981_536, 1, 12),
  (Array("a-little-bit-longer-string".utf8), -1_486_304_829, 0, 19),
  (Array("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8".utf8), -58_897_971, 3, 77),
  (Array(0...255), -1_948_347_274, 3, 74),
]

@Suite struct Murmur2Tests {
  @Test func keysGoWhereKafkasProducersPutThem() {
    for (key, hash, ofSeven, ofHundred) in examples {
      key.withUnsafeBytes { bytes in
        #expect(Murmur2.hash(bytes) == hash)
        #expect(Murmur2.partition(forKey: bytes, partitionCount: 7) == ofSeven)
        #expect(Murmur2.partition(forKey: bytes, partitionCount: 100) == ofHundred)
        #expect(Murmur2.partition(forKey: bytes, partitionCount: 1) == 0)
      }
    }
  }
}
