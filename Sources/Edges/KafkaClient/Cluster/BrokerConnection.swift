import Base
import DequeModule
import Model
package import NIOCore
import NIOPosix
package import Wire

/// One connection to one broker: requests go out as they come, answers come back in the same order (Kafka's rule), each within
/// its time. Everything happens on `eventLoop`; when the connection breaks, every request still waiting fails with `.connection`.
package final class BrokerConnection: ChannelInboundHandler, @unchecked Sendable {
  package typealias InboundIn = ByteBuffer
  package typealias Completion = @Sendable (Result<ByteBuffer, KafkaError>) -> Void

  private struct PendingRequest {
    var correlationID: Int32
    var deadline: NIODeadline
    var complete: Completion
  }

  package let address: BrokerAddress
  package let eventLoop: any EventLoop
  /// What the broker speaks; empty until `connect` is done.
  package private(set) var versions = VersionTable()
  /// Runs once, on the loop, after every waiting request was failed, with the reason and whether there were any.
  package var onClose: ((KafkaError, _ wasBusy: Bool) -> Void)?

  private let configuration: ClientConfiguration
  private var channel: (any Channel)?
  private var frames: FrameSplitter
  private var pending: Deque<PendingRequest> = []
  private var nextCorrelationID: Int32 = 0
  private var timer: Scheduled<Void>?
  private var timerDeadline = NIODeadline.distantFuture
  private var failure: KafkaError?

  private init(_ address: BrokerAddress, _ configuration: ClientConfiguration, on eventLoop: any EventLoop) {
    (self.address, self.configuration, self.eventLoop) = (address, configuration, eventLoop)
    self.frames = FrameSplitter(frameByteCountMax: configuration.responseByteCountMax)
  }

  /// Connects and asks for the broker's versions. Fails with `.connection`, `.timeout`, `.malformed` or `.unsupportedVersion`.
  package static func connect(
    to address: BrokerAddress, _ configuration: ClientConfiguration, on eventLoop: any EventLoop
  ) -> EventLoopFuture<BrokerConnection> {
    let connection = BrokerConnection(address, configuration, on: eventLoop)
    return ClientBootstrap(group: eventLoop)
      .connectTimeout(.nanoseconds(configuration.connectTimeout.wholeNanoseconds))
      .channelOption(ChannelOptions.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(ChannelOptions.maxMessagesPerRead, value: 4)
      .channelOption(
        ChannelOptions.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 16384, maximum: 1 << 20))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          connection.channel = channel
          try channel.pipeline.syncOperations.addHandler(connection)
        }
      }
      .connect(host: address.host, port: address.port)
      .flatMapErrorThrowing { error in
        throw KafkaError(
          .connection, "cannot connect to \(address): \(Self.reason(error)); check the address, and that a broker runs there")
      }
      .flatMap { _ in connection.negotiate(version: ApiVersionsRequest.supportedVersions.upperBound) }
      .map { connection }
      .flatMapErrorThrowing { error in
        let error = KafkaError(wrapping: error)
        connection.close(error)
        throw error
      }
  }

  private static func reason(_ error: any Error) -> String {
    switch error {
    case let error as NIOConnectionError:
      if let single = error.connectionErrors.first { return Self.reason(single.error) }
      return "the name '\(error.host)' cannot be resolved"
    case let error as IOError: return String(cString: strerror(error.errnoCode))
    case let error as ChannelError:
      if case .connectTimeout(let amount) = error { return "no answer within \(amount.nanoseconds / 1_000_000) ms" }
      return "\(error)"
    default: return "\(error)"
    }
  }

  // MARK: Sending

  /// Requests that wait for their answer.
  package var pendingCount: Int { self.pending.count }
  package var isOpen: Bool { self.failure == nil && self.channel?.isActive == true }

  /// Sends `request` in the highest common version (not above `limit`) and decodes the answer.
  ///
  /// `records` are the bodies that the request's encoding left out (`RecordData.external`), in order; they are written without a copy.
  /// Without `expectsAnswer` (produce with acks=0) the future completes, with an empty answer, once the bytes were handed to the system.
  package func send<Request: ApiRequest>(
    _ request: Request, notAbove limit: Int16 = .max, timeout: Duration? = nil, records: [ByteBuffer] = [], expectsAnswer: Bool = true
  ) -> EventLoopFuture<Request.Response> {
    do throws(KafkaError) {
      let version = try self.versions.version(of: Request.self, notAbove: limit)
      return self.send(request, version: version, timeout: timeout, records: records, expectsAnswer: expectsAnswer)
    } catch {
      return self.eventLoop.makeFailedFuture(error)
    }
  }

  private func send<Request: ApiRequest>(
    _ request: Request, version: Int16, timeout: Duration?, records: [ByteBuffer], expectsAnswer: Bool
  ) -> EventLoopFuture<Request.Response> {
    let promise = self.eventLoop.makePromise(of: Request.Response.self)
    let correlationID = self.takeCorrelationID()
    let frame = RequestFrame.encode(
      request, version: version, correlationID: correlationID, clientID: self.configuration.clientID, records: records)
    let address = self.address
    self.write(frame, correlationID: correlationID, timeout: timeout, expectsAnswer: expectsAnswer) { result in
      switch result {
      case .failure(let error): promise.fail(error)
      case .success where !expectsAnswer: promise.succeed(Request.Response())
      case .success(let body):
        do throws(WireError) {
          promise.succeed(try RequestFrame.decodeAnswer(to: Request.self, version: version, from: body))
        } catch {
          promise.fail(KafkaError.malformedAnswer(error, from: "\(address)"))
        }
      }
    }
    return promise.futureResult
  }

  /// The number for the next request; give it to `write` together with the frame that carries it.
  package func takeCorrelationID() -> Int32 {
    defer { self.nextCorrelationID = self.nextCorrelationID == .max ? 0 : self.nextCorrelationID + 1 }
    return self.nextCorrelationID
  }

  /// Writes the pieces of one request. `complete` runs on the loop with the answer from its correlation id on, or with the failure.
  package func write(
    _ frame: [ByteBuffer], correlationID: Int32, timeout: Duration? = nil, expectsAnswer: Bool = true, _ complete: @escaping Completion
  ) {
    self.eventLoop.preconditionInEventLoop()
    if let failure = self.failure { return complete(.failure(failure)) }
    guard let channel = self.channel else { return complete(.failure(KafkaError(.connection, "\(self.address) is not connected"))) }
    if expectsAnswer {
      let deadline = NIODeadline.now() + .nanoseconds((timeout ?? self.configuration.requestTimeout).wholeNanoseconds)
      self.pending.append(PendingRequest(correlationID: correlationID, deadline: deadline, complete: complete))
      self.armTimer(for: deadline)
      for piece in frame { channel.write(piece, promise: nil) }
    } else {
      for piece in frame.dropLast() { channel.write(piece, promise: nil) }
      let written = channel.eventLoop.makePromise(of: Void.self)
      let address = self.address
      written.futureResult.whenComplete { result in
        complete(result.map { ByteBuffer() }.mapError { KafkaError(.connection, "\(address) closed the connection: \($0)") })
      }
      channel.write(frame.last ?? ByteBuffer(), promise: written)
    }
    channel.flush()
  }

  // MARK: Negotiation

  /// Asks for the broker's versions, newest form first: a broker that does not know it answers in the oldest form, with the range it knows
  /// (KIP-511).
  private func negotiate(version: Int16) -> EventLoopFuture<Void> {
    let promise = self.eventLoop.makePromise(of: Void.self)
    let request = ApiVersionsRequest(clientSoftwareName: "apus", clientSoftwareVersion: "0.1.0")
    let correlationID = self.takeCorrelationID()
    let frame = RequestFrame.encode(
      request, version: version, correlationID: correlationID, clientID: self.configuration.clientID, records: [])
    self.write(frame, correlationID: correlationID, timeout: self.configuration.connectTimeout) { result in
      switch result {
      case .failure(let error): promise.fail(error)
      case .success(let body): promise.completeWith(self.finishNegotiation(body, asked: version))
      }
    }
    return promise.futureResult
  }

  private func finishNegotiation(_ body: ByteBuffer, asked version: Int16) -> EventLoopFuture<Void> {
    do throws(WireError) {
      let response = try RequestFrame.decodeApiVersions(body, asked: version)
      if response.errorCode == .unsupportedVersion, version > 0 {
        let known = VersionTable(response).range(of: ApiVersionsRequest.apiKey.rawValue)?.upperBound ?? version - 1
        return self.negotiate(version: max(0, min(version - 1, known)))
      }
      guard response.errorCode == .none else {
        return self.eventLoop.makeFailedFuture(KafkaError(response.errorCode, about: "ApiVersions at \(self.address)"))
      }
      self.versions = VersionTable(response)
      return self.eventLoop.makeSucceededVoidFuture()
    } catch {
      return self.eventLoop.makeFailedFuture(KafkaError.malformedAnswer(error, from: "\(self.address)"))
    }
  }

  // MARK: Receiving

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    self.frames.receive(self.unwrapInboundIn(data))
    while self.failure == nil {
      switch self.frames.next() {
      case .incomplete: return
      case .broken(let error): self.close(self.failure(of: error))
      case .frame(let body):
        do throws(KafkaError) { try self.receive(body) } catch { self.close(error) }
      }
    }
  }

  private func failure(of error: FramingError) -> KafkaError {
    switch error {
    case .otherProtocol(.tls):
      KafkaError(.malformed, "\(self.address) speaks TLS, which this client does not: use a PLAINTEXT listener of the broker")
    case .otherProtocol(let other):
      KafkaError(.malformed, "\(self.address) speaks \(other.rawValue), not Kafka's protocol; check the address")
    case .nonPositiveLength, .tooLong, .lostRead:
      KafkaError(
        .malformed, "\(self.address) does not answer like a Kafka broker (\(error)); check the address, and whether it expects TLS")
    }
  }

  private func receive(_ body: ByteBuffer) throws(KafkaError) {
    guard let correlationID = body.getInteger(at: body.readerIndex, as: Int32.self) else {
      throw KafkaError(.malformed, "\(self.address) sent an answer of \(body.readableBytes) bytes")
    }
    // The one that is due stays among those that wait until it is its turn, so that it fails with them.
    guard let request = self.pending.first, request.correlationID == correlationID else {
      throw KafkaError(.malformed, "\(self.address) answered request \(correlationID), which is not the one that is due")
    }
    self.pending.removeFirst()
    request.complete(.success(body))
  }

  package func channelInactive(context: ChannelHandlerContext) {
    self.close(KafkaError(.connection, "\(self.address) closed the connection"))
  }

  package func errorCaught(context: ChannelHandlerContext, error: any Error) {
    self.close(KafkaError(.connection, "the connection to \(self.address) broke: \(Self.reason(error))"))
  }

  /// Closes the connection; every request that waits fails with `reason`. Later calls do nothing.
  package func close(_ reason: KafkaError) {
    self.eventLoop.preconditionInEventLoop()
    guard self.failure == nil else { return }
    self.failure = reason
    self.timer?.cancel()
    self.timer = nil
    self.channel?.close(promise: nil)
    let waiting = self.pending
    self.pending = []
    for request in waiting { request.complete(.failure(reason)) }
    self.onClose?(reason, !waiting.isEmpty)
    self.onClose = nil
  }

  // MARK: Time

  /// One timer for all, set for the least patient request.
  private func armTimer(for deadline: NIODeadline) {
    if self.timer != nil, self.timerDeadline <= deadline { return }
    self.timer?.cancel()
    self.timerDeadline = deadline
    self.timer = self.eventLoop.scheduleTask(deadline: deadline) { self.timerFired() }
  }

  private func timerFired() {
    self.timer = nil
    let now = NIODeadline.now()
    guard let earliest = self.pending.lazy.map(\.deadline).min() else { return }
    if earliest > now { return self.armTimer(for: earliest) }
    self.close(KafkaError(.timeout, "\(self.address) did not answer in time"))
  }
}
