import Broker
import NIOCore
import Synchronization

/// A broker that is told by the first byte of a request what to do with it.
final class EchoHandler: RequestHandler {
  typealias File = TestFile

  enum Command: UInt8 {
    /// Answer with the request's bytes at once.
    case echo = 1
    /// Answer with the request's bytes from another thread, a little later.
    case echoLater = 2
    /// No answer.
    case silent = 3
    /// Answer with the first mebibyte of the file.
    case file = 4
    /// Refuse the connection.
    case refuse = 5
    /// Keep the request and never answer.
    case hold = 6
    /// Answer with a mebibyte from memory.
    case large = 7
  }

  struct Seen: Sendable {
    var connected = 0
    var disconnected = 0
    var requests = 0
  }

  let seen = Mutex(Seen())
  let file: TestFile
  let threads: any EventLoopGroup
  static let fileByteCount = 1 << 20

  init(file: TestFile, threads: any EventLoopGroup) {
    self.file = file
    self.threads = threads
  }

  func connected(_ client: ClientContext) { self.seen.withLock { $0.connected += 1 } }
  func disconnected(_ client: ClientContext) { self.seen.withLock { $0.disconnected += 1 } }

  func handle(_ frame: ByteBuffer, from client: ClientContext, reply: Reply<TestFile>) {
    self.seen.withLock { $0.requests += 1 }
    switch Command(rawValue: frame.getInteger(at: frame.readerIndex) ?? 0) {
    case .echo, nil: reply.send(Self.answer(frame))
    case .echoLater:
      let delay = Int64(frame.getInteger(at: frame.readerIndex + 1, as: UInt8.self) ?? 0)
      self.threads.next().scheduleTask(in: .microseconds(delay * 10)) { reply.send(Self.answer(frame)) }
    case .silent: reply.skip()
    case .file:
      var head = ByteBuffer()
      head.writeInteger(Int32(Self.fileByteCount + 1))
      head.writeInteger(Command.file.rawValue)
      reply.send(OutgoingFrame([.bytes(head), .file(self.file, position: 0, byteCount: Self.fileByteCount)]))
    case .refuse: reply.sink.close(reason: "refused by the test")
    case .hold: break
    case .large:
      var bytes = ByteBuffer()
      bytes.writeInteger(Int32(Self.fileByteCount))
      bytes.writeRepeatingByte(7, count: Self.fileByteCount)
      reply.send(OutgoingFrame(bytes))
    }
  }

  private static func answer(_ frame: ByteBuffer) -> OutgoingFrame<TestFile> {
    var head = ByteBuffer()
    head.writeInteger(Int32(frame.readableBytes))
    return OutgoingFrame([.bytes(head), .bytes(frame)])
  }
}
