import NIOCore
import Testing

@testable import Wire

@Suite struct FrameSplitterTests {
  /// Sizes around every threshold: shorter than a prefix, half a read buffer, a whole one, several.
  static let bodies: [[UInt8]] = [1, 2, 3, 4, 5, 30, 59, 60, 61, 123, 124, 125, 128, 300, 1, 600, 7].enumerated()
    .map { pattern($1, seed: $0) }

  @Test func cutAtEveryByte() {
    let stream = Self.bodies.flatMap(framed)
    for cut in 0...stream.count {
      var harness = SplitterHarness(poolByteCount: 128)
      harness.arrive(stream[..<cut])
      harness.arrive(stream[cut...])
      guard harness.frames == Self.bodies else {
        Issue.record("cut at \(cut)")
        return
      }
    }
  }

  @Test(arguments: [1, 2, 3, 5, 7, 64, 127, 128, 129, 100_000])
  func inPieces(of size: Int) {
    let stream = Self.bodies.flatMap(framed)
    var harness = SplitterHarness(poolByteCount: 128)
    for start in stride(from: 0, to: stream.count, by: size) { harness.arrive(stream[start..<min(start + size, stream.count)]) }
    #expect(harness.frames == Self.bodies)
    #expect(harness.splitter.pendingByteCount == 0)
    #expect(harness.splitter.heldByteCount == 0, "an idle connection holds no buffer")
  }

  @Test func bytesThatNobodyAskedFor() {
    var splitter = FrameSplitter(frameByteCountMax: 1000)
    let pool = ReceiveBuffers(byteCount: 1024)
    var frames: [[UInt8]] = []
    for byte in framed([1, 2, 3]) + framed([4]) {
      splitter.receive(ByteBuffer(bytes: [byte]))
      while case .frame(let frame) = splitter.next() { frames.append(Array(frame.readableBytesView)) }
      splitter.settle(to: pool)
    }
    #expect(frames == [[1, 2, 3], [4]])
  }

  @Test func framesAreSlicesNotCopies() {
    let pool = ReceiveBuffers(byteCount: 1024)
    var splitter = FrameSplitter(frameByteCountMax: 1000)
    var buffer = splitter.bufferForRead(from: pool)
    buffer.writeBytes(framed([1, 2, 3]))
    let address = buffer.withUnsafeReadableBytes { $0.baseAddress }
    splitter.receive(buffer)
    guard case .frame(let frame) = splitter.next() else { return #expect(Bool(false), "no frame") }
    #expect(frame.withUnsafeReadableBytes { $0.baseAddress } == address.map { $0 + 4 })
  }

  @Test func aKeptSliceIsNotOverwritten() {
    let pool = ReceiveBuffers(byteCount: 1024)
    var splitter = FrameSplitter(frameByteCountMax: 1000)
    var kept: [ByteBuffer] = []
    for value in UInt8(0)..<50 {
      var buffer = splitter.bufferForRead(from: pool)
      buffer.writeBytes(framed([value]))
      splitter.receive(buffer)
      guard case .frame(let frame) = splitter.next() else { return #expect(Bool(false), "no frame") }
      kept.append(frame)
      splitter.settle(to: pool)
    }
    #expect(kept.map { Array($0.readableBytesView) } == (UInt8(0)..<50).map { [$0] })
  }

  @Test func buffersAreReused() {
    let pool = ReceiveBuffers(byteCount: 1024)
    var splitter = FrameSplitter(frameByteCountMax: 1000)
    var addresses: Set<UInt> = []
    for _ in 0..<50 {
      var buffer = splitter.bufferForRead(from: pool)
      buffer.writeBytes(framed([1, 2, 3]))
      addresses.insert(buffer.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) })
      splitter.receive(buffer)
      buffer = ByteBuffer()
      while case .frame = splitter.next() {}
      splitter.settle(to: pool)
    }
    #expect(addresses.count == 1)
  }

  @Test(arguments: [0, -1, -100, Int32.min]) func lengthsBelowOne(length: Int32) {
    var harness = SplitterHarness()
    harness.arrive(framed([9]))
    harness.arrive(framed(length, []))
    #expect(harness.frames == [[9]])
    #expect(harness.failure == .nonPositiveLength(length))
  }

  @Test func lengthAtAndAboveTheLimit() {
    var harness = SplitterHarness(frameByteCountMax: 5000)
    harness.arrive(framed(pattern(5000)))
    #expect(harness.frames == [pattern(5000)])
    harness.arrive(framed(5001, []))
    #expect(harness.failure == .tooLong(5001, max: 5000))
  }

  @Test(arguments: [
    ([0x16, 0x03, 0x01, 0x02, 0x00, 0x01], FramingError.OtherProtocol.tls),
    ([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46], .tls), (Array("HTTP/1.1 400 Bad Request".utf8), .http),
    (Array("GET / HTTP/1.1\r\n".utf8), .http), (Array("POST / HTTP/1.1\r\n".utf8), .http), (Array("SSH-2.0-OpenSSH".utf8), .ssh),
  ] as [([UInt8], FramingError.OtherProtocol)])
  func otherProtocols(bytes: [UInt8], other: FramingError.OtherProtocol) {
    var harness = SplitterHarness(frameByteCountMax: Int(Int32.max))
    harness.arrive(bytes)
    #expect(harness.failure == .otherProtocol(other))
    #expect(FramingError.otherProtocol(other).description == "\(other.rawValue), not the Kafka protocol")
  }

  @Test func allocationFollowsArrival() {
    var harness = SplitterHarness(frameByteCountMax: 100 << 20, poolByteCount: 64 << 10)
    harness.arrive(framed(100 << 20, []))
    #expect(harness.splitter.heldByteCount <= 1 << 20, "a promise of 100 MiB costs nothing")
    harness.arrive(pattern(3 << 20))
    #expect(harness.splitter.heldByteCount <= 16 << 20)
    #expect(harness.splitter.pendingByteCount == (3 << 20) + 4)
  }

  @Test func largeFramesAreReadInPlace() {
    var harness = SplitterHarness(frameByteCountMax: 8 << 20, poolByteCount: 64 << 10)
    let body = pattern(3 << 20)
    harness.arrive(framed(body) + framed(body) + framed([1]))
    #expect(harness.frames == [body, body, [1]])
    #expect(harness.splitter.heldByteCount == 0)
  }

  @Test func aReadThatNeverCameBack() {
    var harness = SplitterHarness(frameByteCountMax: 8 << 20, poolByteCount: 1024)
    harness.arrive(framed(100_000, pattern(3000)))
    _ = harness.splitter.bufferForRead(from: harness.pool)
    harness.arrive(pattern(10))
    #expect(harness.failure == .lostRead)
  }

  @Test("A client's way: pieces of any size, no buffers lent, and no memory beyond a few times what waits", arguments: [1, 3, 64, 5_000])
  func withoutLentBuffers(size: Int) {
    let bodies = Self.bodies + [pattern(100_000), [1]]
    let stream = bodies.flatMap(framed)
    var splitter = FrameSplitter(frameByteCountMax: 1 << 20)
    var frames: [[UInt8]] = []
    for start in stride(from: 0, to: stream.count, by: size) {
      splitter.receive(ByteBuffer(bytes: stream[start..<min(start + size, stream.count)]))
      while case .frame(let frame) = splitter.next() { frames.append(Array(frame.readableBytesView)) }
      #expect(splitter.heldByteCount <= max(4 * splitter.pendingByteCount, 2 * size + 300_000))
    }
    #expect(frames == bodies)
    #expect(splitter.pendingByteCount == 0)
  }

  @Test func aFrameThatBeginsBeyond16MiBIsNotCopied() {
    var chunk = ByteBufferAllocator().buffer(capacity: (17 << 20) + 16)
    chunk.writeInteger(Int32(17 << 20))
    chunk.writeRepeatingByte(1, count: 17 << 20)
    chunk.writeBytes(framed([7, 8]))
    let base = chunk.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
    var splitter = FrameSplitter(frameByteCountMax: 1 << 26)
    splitter.receive(chunk)
    guard case .frame(let first) = splitter.next(), case .frame(let second) = splitter.next() else {
      return #expect(Bool(false), "no frames")
    }
    #expect(first.readableBytes == 17 << 20)
    #expect(Array(second.readableBytesView) == [7, 8])
    #expect(second.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) } == base + (17 << 20) + 8)
  }

  /// A connection at its limits keeps whole frames; when the peer closes, the system hands over all it has, asked or not.
  @Test func wholeFramesMayWait() {
    let pool = ReceiveBuffers(byteCount: 1024)
    var splitter = FrameSplitter(frameByteCountMax: 1000)
    for seed in 0..<40 {
      var buffer = splitter.bufferForRead(from: pool)
      let bytes = framed(pattern(200, seed: seed))
      guard buffer.writableBytes >= bytes.count else { return #expect(Bool(false), "no room") }
      buffer.writeBytes(bytes)
      splitter.receive(buffer)
      #expect(splitter.hasFrame)
      splitter.settle(to: pool)
    }
    var frames: [[UInt8]] = []
    while case .frame(let frame) = splitter.next() { frames.append(Array(frame.readableBytesView)) }
    splitter.settle(to: pool)
    #expect(frames == (0..<40).map { pattern(200, seed: $0) })
    #expect(splitter.heldByteCount == 0)
  }
}

/// A frame with its length in front.
private func framed(_ body: [UInt8]) -> [UInt8] { framed(Int32(body.count), body) }

private func framed(_ length: Int32, _ body: [UInt8]) -> [UInt8] {
  (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + body
}

private func pattern(_ count: Int, seed: Int = 0) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ seed &* 7) } }

/// Plays a socket for a splitter: `bytes` arrive in pieces of the given sizes, and never more than a buffer has room for.
private struct SplitterHarness {
  var splitter: FrameSplitter
  let pool: ReceiveBuffers
  private(set) var frames: [[UInt8]] = []
  private(set) var failure: FramingError?

  init(frameByteCountMax: Int = 1 << 20, poolByteCount: Int = 1024) {
    self.splitter = FrameSplitter(frameByteCountMax: frameByteCountMax)
    self.pool = ReceiveBuffers(byteCount: poolByteCount)
  }

  mutating func arrive(_ bytes: some Collection<UInt8>) {
    var left = Array(bytes)[...]
    while !left.isEmpty {
      var buffer = self.splitter.bufferForRead(from: self.pool)
      precondition(buffer.writableBytes > 0, "a read of nothing would look like the end of the stream")
      let part = left.prefix(buffer.writableBytes)
      buffer.writeBytes(part)
      left = left.dropFirst(part.count)
      self.splitter.receive(buffer)
      self.drain()
    }
  }

  mutating func drain() {
    while self.failure == nil {
      switch self.splitter.next() {
      case .frame(let frame): self.frames.append(Array(frame.readableBytesView))
      case .broken(let error): self.failure = error
      case .incomplete:
        self.splitter.settle(to: self.pool)
        return
      }
    }
  }
}
