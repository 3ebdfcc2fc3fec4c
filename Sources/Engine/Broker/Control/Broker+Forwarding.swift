import Base
import Controller
import Environment
import Model
import NIOCore
import Peers
import Wire

// Requests of clients that only the active controller decides: they go there in an envelope (KIP-590), whole, and come back as its answer.
extension Broker {
  /// How long a request that names no time of its own may take: what Kafka's clients wait for an answer.
  static var forwardTimeout: Duration { .seconds(30) }
  /// What the controller is given on top of the client's time, so that its own word on it arrives.
  private static var forwardGrace: Duration { .milliseconds(500) }

  /// - Parameters:
  ///   - frame: the request with its header.
  ///   - body: the same behind the header.
  func forward(_ exchange: Exchange<Env.Disk.File>, _ key: ApiKey, frame: ByteBuffer, body: WireReader) throws(WireError) {
    guard let type = KnownApis.request(key) else { return self.refuse(exchange, "\(key) is not known") }
    try self.forward(type, exchange, frame: frame, body: body)
  }

  private func forward<Request: ApiRequest>(
    _: Request.Type, _ exchange: Exchange<Env.Disk.File>, frame: ByteBuffer, body: WireReader
  ) throws(WireError) {
    var reader = body
    // Whatever makes no sense is this broker's to refuse.
    let request = try Request(from: &reader, version: exchange.version)
    let timeout = Self.timeout(of: request).map { $0 + Self.forwardGrace } ?? Self.forwardTimeout
    let envelope = EnvelopeRequest(
      // The frame is a part of a read buffer that others need.
      requestData: ByteBuffer(bytes: frame.readableBytesView), requestPrincipal: Self.anonymous,
      clientHostAddress: ByteBuffer(bytes: addressBytes(exchange.client.host)))
    self.askController(envelope, timeout: timeout, isUndecided: { $0.errorCode == .notController }) { result in
      switch result {
      case .success(let response) where response.errorCode == .none:
        guard let answer = response.responseData else { return exchange.close(reason: "the controller's answer is empty") }
        exchange.respond(withAnswer: answer)
      case .success(let response):
        exchange.respond(request.refusal(response.errorCode, message: nil, version: exchange.version))
      case .failure(let error):
        exchange.respond(request.refusal(error.code, message: error.message, version: exchange.version))
      }
    }
  }

  /// Has the active controller decide `request`, whoever that is in the course of `timeout`.
  func askController<Request: ApiRequest>(
    _ request: Request, timeout: Duration, isUndecided: @escaping @Sendable (Request.Response) -> Bool,
    answer: @escaping @Sendable (Result<Request.Response, ApiError>) -> Void
  ) {
    // Whoever asked looks at the outcome next, and here.
    RepeatedCall(
      request, timeout: timeout, channel: self.channel, environment: self.environment, isUndecided: isUndecided,
      answer: { result in self.metadata.afterChanges { answer(result) } }
    ).start()
  }

  /// Nil where the request names none.
  private static func timeout(of request: some ApiRequest) -> Duration? {
    let milliseconds: Int32? =
      switch request {
      case let request as CreateTopicsRequest: request.timeoutMs
      case let request as DeleteTopicsRequest: request.timeoutMs
      case let request as CreatePartitionsRequest: request.timeoutMs
      case let request as ElectLeadersRequest: request.timeoutMs
      case let request as AlterPartitionReassignmentsRequest: request.timeoutMs
      case let request as ListPartitionReassignmentsRequest: request.timeoutMs
      case let request as UpdateFeaturesRequest: request.timeoutMs
      default: nil
      }
    return milliseconds.map { .milliseconds(Int64(max(0, $0))) }
  }

  /// User:ANONYMOUS as Kafka writes a principal (`DefaultPrincipalData`, version 0): nobody authenticates yet.
  private static var anonymous: ByteBuffer {
    var writer = WireWriter()
    writer.writeInteger(0 as Int16)
    writer.writeString("User", flexible: true)
    writer.writeString("ANONYMOUS", flexible: true)
    writer.writeInteger(0 as Int8)
    writer.writeUnsignedVarint(0)
    return writer.buffer
  }

  // MARK: - The controller's side

  /// A request that a broker passes on for its client.
  func handleEnvelope(_ exchange: Exchange<Env.Disk.File>, _ request: EnvelopeRequest) {
    guard request.requestPrincipal != nil else {
      return exchange.respond(EnvelopeResponse(errorCode: .principalDeserializationFailure))
    }
    var reader = WireReader(request.requestData)
    guard let header = try? RequestHeader(from: &reader), let key = ApiKey(rawValue: header.apiKey) else {
      return exchange.respond(EnvelopeResponse(errorCode: .invalidRequest))
    }
    // An envelope in an envelope, or what brokers serve themselves.
    guard let entry = ServedApis.entry(key, for: .broker), entry.isForwarded else {
      return exchange.respond(EnvelopeResponse(errorCode: .invalidRequest))
    }
    guard entry.versions.contains(header.apiVersion) else {
      return exchange.respond(EnvelopeResponse(errorCode: .unsupportedVersion))
    }
    if !self.controller.isActive { return exchange.respond(EnvelopeResponse(errorCode: .notController)) }
    let sink = CapturedReply<Env.Disk.File> { outcome in
      switch outcome {
      case .frame(let bytes): exchange.respond(EnvelopeResponse(responseData: bytes, errorCode: .none))
      case .notController: exchange.respond(EnvelopeResponse(errorCode: .notController))
      case .refused: exchange.respond(EnvelopeResponse(errorCode: .invalidRequest))
      }
    }
    self.handle(request.requestData, from: exchange.client, reply: Reply(sink: sink, slot: 0))
  }
}

extension Exchange {
  /// Answers with what another node has answered, header and all; it names the request by the number that the client gave it.
  func respond(withAnswer answer: ByteBuffer) {
    var frame = ByteBufferAllocator().buffer(capacity: answer.readableBytes + Frame.prefixByteCount)
    frame.writeInteger(Int32(answer.readableBytes))
    frame.writeImmutableBuffer(answer)
    self.reply.send(OutgoingFrame(frame))
  }
}

/// An address's bytes as Java's `InetAddress` has them: 4 or 16; none if it is no address.
func addressBytes(_ host: String) -> [UInt8] {
  if !host.contains(":") {
    let parts = host.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
    return parts.count == 4 && !parts.contains(nil) ? parts.compactMap { $0 } : []
  }
  let text = host.prefix { $0 != "%" }
  let halves = text.split(separator: "::", omittingEmptySubsequences: false).map { half in
    half.split(separator: ":").map { UInt16($0, radix: 16) }
  }
  let groups = halves.flatMap { $0 }
  guard halves.count <= 2, !groups.contains(nil), halves.count == 2 ? groups.count < 8 : groups.count == 8 else { return [] }
  let zeros = [UInt16](repeating: 0, count: 8 - groups.count)
  let all = halves[0].compactMap { $0 } + zeros + (halves.count == 2 ? halves[1].compactMap { $0 } : [])
  return all.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
}
