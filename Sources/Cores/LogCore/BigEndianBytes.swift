/// Big-endian integers in byte arrays: every binary file of a partition directory is made of them.
extension Array where Element == UInt8 {
  package mutating func append<T: FixedWidthInteger>(bigEndian value: T) {
    var shift = T.bitWidth - 8
    while shift >= 0 {
      self.append(UInt8(truncatingIfNeeded: value >> T(shift)))
      shift -= 8
    }
  }
}

extension RandomAccessCollection where Element == UInt8, Index == Int {
  /// The integer at `position` bytes from the start. The caller has checked that it is there.
  package func bigEndian<T: FixedWidthInteger>(at position: Int, as type: T.Type = T.self) -> T {
    var value: T = 0
    for index in self.startIndex + position..<self.startIndex + position + T.bitWidth / 8 {
      value = (value << 8) | T(truncatingIfNeeded: self[index])
    }
    return value
  }
}
