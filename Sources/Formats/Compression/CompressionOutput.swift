/// Where codecs put what they produce: a growing run of bytes, written in place so that no intermediate copy is made.
///
/// `ByteBuffer` conforms in Records; this target does not know it.
package protocol CompressionOutput {
  /// Calls `body` once with exactly `byteCount` bytes of writable, uninitialized memory behind what is there already, then
  /// keeps the first so many of them as `body` returns. When `body` throws, nothing is kept.
  mutating func append<E: Error>(
    byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Int
  ) throws(E)

  /// The most room a decoder may ask for at once, unless its format leaves it no choice (a block of raw snappy is decoded whole). An
  /// output that passes on what it gets stays small by it.
  var roomByteCountMax: Int { get }
  /// False once nothing more is of use: a decoder then stops where it is, without an error.
  var wantsMore: Bool { get }
}

extension CompressionOutput {
  package var roomByteCountMax: Int { .max }
  package var wantsMore: Bool { true }
}

extension [UInt8]: CompressionOutput {
  package mutating func append<E: Error>(
    byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Int
  ) throws(E) {
    // An array cannot grow without being initialized; the hot paths use `ByteBuffer`, which can.
    let start = self.count
    self.append(contentsOf: [UInt8](repeating: 0, count: byteCount))
    let result = self.withUnsafeMutableBytes { bytes in
      Result { () throws(E) -> Int in try body(UnsafeMutableRawBufferPointer(rebasing: bytes[start...])) }
    }
    switch result {
    case .success(let kept): self.removeLast(byteCount - kept)
    case .failure(let error):
      self.removeLast(byteCount)
      throw error
    }
  }
}
