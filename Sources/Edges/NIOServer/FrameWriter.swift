import Environment
import NIOCore

/// Writes answers into a channel: small ones joined into one buffer, pieces of files as file regions (`sendfile`).
struct FrameWriter {
  let context: ChannelHandlerContext

  /// Below this a copy is cheaper than a trip through the channel and an entry of `writev`.
  private static var joinByteCountMax: Int { 2048 }
  private static var joinedByteCountMax: Int { 64 << 10 }

  func write(_ answers: [Answer]) {
    var joined: ByteBuffer?
    for answer in answers {
      answer.forEach { piece in
        switch piece {
        case .bytes(let bytes): self.write(bytes, joining: &joined)
        case .file(let file, position: let position, byteCount: let byteCount):
          self.flush(&joined)
          self.write(file, position: position, byteCount: byteCount)
        }
      }
    }
    self.flush(&joined)
  }

  private func write(_ bytes: ByteBuffer, joining joined: inout ByteBuffer?) {
    guard var before = joined else {
      joined = bytes
      return
    }
    joined = nil
    if bytes.readableBytes <= Self.joinByteCountMax, before.readableBytes + bytes.readableBytes <= Self.joinedByteCountMax {
      before.writeImmutableBuffer(bytes)
      joined = before
    } else {
      self.send(before)
      joined = bytes
    }
  }

  private func flush(_ joined: inout ByteBuffer?) {
    if let bytes = joined { self.send(bytes) }
    joined = nil
  }

  private func send(_ bytes: ByteBuffer) {
    if bytes.readableBytes > 0 { self.context.write(NIOAny(IOData.byteBuffer(bytes)), promise: nil) }
  }

  private func write(_ file: any DiskFile, position: Int64, byteCount: Int) {
    if byteCount == 0 { return }
    guard let descriptor = file.descriptor else { return self.copy(file, position: position, byteCount: byteCount) }
    // The handle only names the descriptor for NIO; the file owns it, and lives until the region has been written or dropped.
    let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: descriptor)
    let region = FileRegion(fileHandle: handle, readerIndex: Int(position), endIndex: Int(position) + byteCount)
    let written = self.context.eventLoop.makePromise(of: Void.self)
    written.futureResult.whenComplete { _ in
      _ = try? handle.takeDescriptorOwnership()
      withExtendedLifetime(file) {}
    }
    self.context.write(NIOAny(IOData.fileRegion(region)), promise: written)
  }

  /// A file without a descriptor (a simulated disk): its bytes are read into memory.
  private func copy(_ file: any DiskFile, position: Int64, byteCount: Int) {
    var bytes = ByteBufferAllocator().buffer(capacity: byteCount)
    do {
      try bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: byteCount) { memory in
        let count = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: memory[0..<byteCount]), at: position)
        if count < byteCount { throw DiskError(.io, operation: "read", path: "\(count) of \(byteCount) bytes at \(position)") }
        return count
      }
      self.send(bytes)
    } catch {
      // The length of the answer is already on its way: the connection cannot go on.
      self.context.fireErrorCaught(error)
      self.context.close(promise: nil)
    }
  }
}
