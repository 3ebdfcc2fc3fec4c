package import NIOCore

/// Cuts a connection's bytes into frames: a 4-byte big-endian length, then that many bytes.
///
/// Frames are slices of the read buffer. What is left over at the end of a turn is copied into a small buffer of the connection's own;
/// the next read puts it in front, so every frame is contiguous. A frame larger than half a read buffer gets a buffer of its own,
/// which grows with what has arrived, never with what was promised, and which reads then fill directly.
///
/// The turns: `bufferForRead` before the system call, `receive` after it, `next` until it has no frame, `settle`. Who does not lend
/// buffers, as a client with a connection of its own to read from, does without the first and the last.
package struct FrameSplitter {
  package enum Step: Hashable {
    case frame(ByteBuffer)
    case incomplete
    case broken(FramingError)
  }

  private enum Holding {
    /// Nothing between turns; inside a turn `input` is a buffer of the loop.
    case shared
    /// `input` belongs to the connection and is copied in front of the next read.
    case remainder
    /// `input` belongs to the connection; reads go into it.
    case growing
    /// `input` was handed to a read and is expected back.
    case lent
  }

  private var input = ByteBuffer()
  private var holding = Holding.shared
  /// `bufferForRead` was called and `receive` not yet.
  private var readIsPending = false
  /// The buffer that was lent did not come back before the next read: its bytes are gone.
  private var lostRead = false
  private var isFirstFrame = true
  /// The last frame was a large one, so the next read is kept short: then most of the next large frame goes straight into its own buffer.
  private var expectsLargeFrame = false
  package let frameByteCountMax: Int

  static let prefixByteCount = Frame.prefixByteCount
  private static let sliceStartMax = 1 << 24
  private static let shortReadByteCount = 4096
  /// Promised bytes are believed up to here: pages that nothing arrives in are never touched.
  private static let largeBufferByteCountMin = 1 << 20

  package init(frameByteCountMax: Int) { self.frameByteCountMax = frameByteCountMax }

  /// Bytes received and not yet given out as frames.
  package var pendingByteCount: Int { self.input.readableBytes }
  /// Bytes of memory held between turns.
  package var heldByteCount: Int { self.input.capacity }

  // MARK: Reading

  /// The buffer for the next read of the socket, with what is left of the last one in front.
  package mutating func bufferForRead(from pool: ReceiveBuffers) -> ByteBuffer {
    defer { self.readIsPending = true }
    switch self.holding {
    case .lent:
      self.lostRead = true
      return pool.take()
    case .shared:
      var buffer = pool.take()
      if self.expectsLargeFrame { buffer.narrow(to: Self.shortReadByteCount) }
      return buffer
    case .remainder:
      var buffer = pool.take()
      buffer.writeImmutableBuffer(self.input)
      return buffer
    case .growing:
      var buffer = ByteBuffer()
      swap(&buffer, &self.input)
      self.holding = .lent
      if buffer.writableBytes == 0 { buffer = self.grown(buffer) }
      return buffer
    }
  }

  /// A buffer of four times what has arrived, but no longer than the frame that is arriving, if there is one.
  private func grown(_ buffer: ByteBuffer) -> ByteBuffer {
    let have = buffer.readableBytes
    var capacity = have * 4
    if let total = buffer.frameByteCount, total > have { capacity = min(capacity, total) }
    var larger = ByteBufferAllocator().buffer(capacity: capacity)
    larger.writeImmutableBuffer(buffer)
    larger.narrow(to: capacity)
    return larger
  }

  /// Takes in what was read: the buffer from `bufferForRead`, or, if that was not asked for, just the new bytes.
  package mutating func receive(_ buffer: ByteBuffer) {
    if self.readIsPending || self.input.readableBytes == 0 {
      self.input = buffer
      self.holding = self.holding == .lent ? .growing : .shared
    } else if self.holding == .growing, self.input.readerIndex == 0 {
      // Grows twofold each time, so that a long frame is not copied again with every piece of it.
      self.input.writeImmutableBuffer(buffer)
    } else {
      var joined = ByteBufferAllocator().buffer(capacity: self.input.readableBytes + buffer.readableBytes)
      joined.writeImmutableBuffer(self.input)
      joined.writeImmutableBuffer(buffer)
      self.input = joined
      self.holding = .growing
    }
    self.readIsPending = false
  }

  // MARK: Splitting

  /// `next` has something to say: a whole frame is waiting, or a broken one.
  package var hasFrame: Bool {
    guard let total = self.input.frameByteCount else { return self.input.readableBytes >= Self.prefixByteCount }
    return self.input.readableBytes >= total
  }

  /// The next frame without its length prefix.
  package mutating func next() -> Step {
    if self.lostRead { return .broken(.lostRead) }
    guard let length = self.input.getInteger(at: self.input.readerIndex, as: Int32.self) else { return .incomplete }
    if self.isFirstFrame, let other = FramingError.recognise(UInt32(bitPattern: length)) { return .broken(.otherProtocol(other)) }
    if length <= 0 { return .broken(.nonPositiveLength(length)) }
    if Int(length) > self.frameByteCountMax { return .broken(.tooLong(length, max: self.frameByteCountMax)) }
    guard self.input.readableBytes - Self.prefixByteCount >= Int(length) else { return .incomplete }
    self.input.moveReaderIndex(forwardBy: Self.prefixByteCount)
    self.isFirstFrame = false
    // A slice cannot begin beyond 16 MiB of its storage without a copy; a view of all of it can.
    if self.input.readerIndex < Self.sliceStartMax, let frame = self.input.readSlice(length: Int(length)) { return .frame(frame) }
    var frame = self.input
    frame.moveWriterIndex(to: frame.readerIndex + Int(length))
    self.input.moveReaderIndex(forwardBy: Int(length))
    return .frame(frame)
  }

  /// Ends a turn: keeps what is left in memory of a fitting size and gives the loop's buffer back.
  package mutating func settle(to pool: ReceiveBuffers) {
    if self.holding == .lent { return }
    let have = self.input.readableBytes
    if have == 0 {
      if self.holding == .shared { self.release(self.input, to: pool) } else { self.expectsLargeFrame = true }
      self.input = ByteBuffer()
      self.holding = .shared
      return
    }
    switch self.holding {
    case .growing where self.input.readerIndex == 0: return
    case .remainder, .lent: return
    case .growing, .shared: self.keep(have, pool)
    }
  }

  private mutating func keep(_ have: Int, _ pool: ReceiveBuffers) {
    let left = self.input
    let total = left.frameByteCount ?? have
    let isLarge = max(total, have) > pool.byteCount / 2
    let capacity = isLarge ? max(have, min(total, max(4 * have, Self.largeBufferByteCountMin))) : have
    var own = ByteBufferAllocator().buffer(capacity: capacity)
    own.writeImmutableBuffer(left)
    if isLarge { own.narrow(to: capacity) }
    self.input = own
    if self.holding == .shared { self.release(left, to: pool) }
    self.holding = isLarge ? .growing : .remainder
    self.expectsLargeFrame = isLarge
  }

  private mutating func release(_ buffer: ByteBuffer, to pool: ReceiveBuffers) {
    self.expectsLargeFrame = false
    pool.giveBack(buffer)
  }
}

extension ByteBuffer {
  /// The length of the frame that starts at the reader index, prefix included; nil if the prefix is not there or not a length.
  fileprivate var frameByteCount: Int? {
    guard let length = self.getInteger(at: self.readerIndex, as: Int32.self), length > 0 else { return nil }
    return Int(length) + FrameSplitter.prefixByteCount
  }

  /// Makes the buffer end at `capacity`, though more is allocated: a read then stops there.
  fileprivate mutating func narrow(to capacity: Int) {
    guard capacity < self.capacity else { return }
    let written = self.writerIndex
    self.moveWriterIndex(to: capacity)
    guard var narrowed = self.getSlice(at: 0, length: capacity) else { return }
    self = ByteBuffer()
    narrowed.moveWriterIndex(to: written)
    swap(&self, &narrowed)
  }
}
