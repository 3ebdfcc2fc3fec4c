import NIOCore
import Testing

@testable import NIOServer

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
    (Array("GET / HTTP/1.1\r\n".utf8), .http), (Array("POST / HTTP/1.1\r\n".utf8), .http), (Array("SSH-2.0-OpenSSH".utf8), .ssh),
  ] as [([UInt8], FramingError.OtherProtocol)])
  func otherProtocols(bytes: [UInt8], other: FramingError.OtherProtocol) {
    var harness = SplitterHarness(frameByteCountMax: Int(Int32.max))
    harness.arrive(bytes)
    #expect(harness.failure == .otherProtocol(other))
    #expect(FramingError.otherProtocol(other).description.contains("listener") || other != .tls)
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
