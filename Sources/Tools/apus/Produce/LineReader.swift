#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Reads a descriptor in large pieces and finds the lines in them. A line ends with `\n`, which is not part of it; the last may do without.
struct LineReader: ~Copyable {
  private let descriptor: CInt
  private let ownsDescriptor: Bool
  private let byteCountMax: Int
  private var buffer: [UInt8]
  /// The unread bytes of `buffer`.
  private var start = 0
  private var end = 0
  private var isAtEnd = false

  struct LineTooLong: Error, CustomStringConvertible {
    var byteCountMax: Int
    var description: String { "a line is longer than \(Readable.bytes(Int64(self.byteCountMax)))" }
  }

  /// - Parameter byteCountMax: of one line.
  init(descriptor: CInt, ownsDescriptor: Bool = false, byteCountMax: Int, chunk: Int = 1 << 18) {
    self.descriptor = descriptor
    self.ownsDescriptor = ownsDescriptor
    self.byteCountMax = byteCountMax
    self.buffer = [UInt8](repeating: 0, count: chunk)
  }

  deinit { if self.ownsDescriptor { Descriptor.close(self.descriptor) } }

  /// True once every line was taken.
  var isDone: Bool { self.isAtEnd && self.start == self.end }

  /// Reads more unless there are lines left from before. Blocks.
  mutating func fill() throws {
    if self.isAtEnd || self.hasLine { return }
    if self.start > 0 {
      let (start, end) = (self.start, self.end)
      self.buffer.withUnsafeMutableBytes { bytes in
        _ = memmove(bytes.baseAddress!, bytes.baseAddress! + start, end - start)
      }
      self.end -= self.start
      self.start = 0
    }
    if self.end == self.buffer.count {
      guard self.buffer.count < self.byteCountMax else { throw LineTooLong(byteCountMax: self.byteCountMax) }
      self.buffer.append(contentsOf: repeatElement(0, count: self.buffer.count))
    }
    let (descriptor, end) = (self.descriptor, self.end)
    let count = try self.buffer.withUnsafeMutableBytes {
      try Descriptor.read(descriptor, into: UnsafeMutableRawBufferPointer(rebasing: $0[end...]))
    }
    self.end += count
    if count == 0 { self.isAtEnd = true }
  }

  private var hasLine: Bool {
    let (start, end) = (self.start, self.end)
    return self.buffer.withUnsafeBytes { memchr($0.baseAddress! + start, 0x0A, end - start) != nil }
  }

  /// Gives `body` one complete line after another. When it returns false, that line stays and will be given again.
  mutating func forEachLine(_ body: (UnsafeRawBufferPointer) -> Bool) {
    var position = self.start
    let end = self.end
    let isAtEnd = self.isAtEnd
    self.buffer.withUnsafeBytes { bytes in
      while position < end {
        let length: Int
        var next: Int
        if let newline = memchr(bytes.baseAddress! + position, 0x0A, end - position) {
          length = UnsafeRawPointer(newline) - (bytes.baseAddress! + position)
          next = position + length + 1
        } else if isAtEnd {
          length = end - position
          next = end
        } else {
          return
        }
        guard body(UnsafeRawBufferPointer(rebasing: bytes[position..<position + length])) else { return }
        position = next
      }
    }
    self.start = position
  }
}
