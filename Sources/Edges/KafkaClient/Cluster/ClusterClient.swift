package import Base
import Model
package import NIOCore
import NIOPosix
package import Wire

/// The cluster as one client sees it: a connection per broker, made when needed, and the metadata that says who leads what.
///
/// Belongs to one event loop; every method is called on it, unless it is `async`.
package final class ClusterClient: @unchecked Sendable {
  /// Where a request goes.
  package enum Target: Hashable, Sendable {
    /// Whichever broker answers.
    case any
    case controller
    case node(Int32)
  }

  package let configuration: ClientConfiguration
  package let eventLoop: any EventLoop
  package private(set) var metadata = ClusterMetadata()
  /// Whether asking for a topic may create it.
  package var allowsTopicCreation = false
  /// Runs on the loop after metadata changed.
  package var onMetadata: (() -> Void)?
  /// Runs on the loop after a broker was lost, or found to be unreachable, or came back.
  package var onConnectivity: ((ConnectivityChange) -> Void)?

  private var slots: [BrokerAddress: ConnectionSlot] = [:]
  private var generator: SeededGenerator
  private var topicsOfInterest: Set<String> = []
  private var refreshing: (future: EventLoopFuture<Void>, topics: Set<String>?)?
  private var refreshedAt: NIODeadline?
  private var isClosed = false
  private var watch = ConnectivityWatch()

  /// The connection to one address: there, on its way, or to be tried again after a while.
  private struct ConnectionSlot {
    var connection: BrokerConnection?
    var connecting: EventLoopFuture<BrokerConnection>?
    var backoff: Backoff
    var notBefore: NIODeadline = .uptimeNanoseconds(0)
  }

  package init(_ configuration: ClientConfiguration, on eventLoop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()) {
    (self.configuration, self.eventLoop) = (configuration, eventLoop)
    var system = SystemRandomNumberGenerator()
    self.generator = SeededGenerator(seed: system.next())
  }

  /// A wait with this client's own jitter.
  package func delay(_ backoff: inout Backoff) -> TimeAmount {
    .nanoseconds(backoff.next(using: &self.generator).wholeNanoseconds)
  }

  // MARK: Connections

  /// Since when no broker can be reached, though one could before; nil while one can.
  package var unreachableSince: Instant? { self.watch.unreachableSince }

  private func tell(_ change: ConnectivityChange?) {
    if let change, !self.isClosed { self.onConnectivity?(change) }
  }

  /// Whether a broker has this address. Until the cluster has named its brokers, the addresses of the bootstrap list are taken for theirs.
  private func isNamed(_ address: BrokerAddress) -> Bool {
    let brokers = self.metadata.brokers
    return brokers.isEmpty || brokers.values.contains { $0.address == address }
  }

  /// The connection to a broker of the cluster. Fails with `.connection` if the broker is unknown or does not answer.
  package func connection(to node: Int32) -> EventLoopFuture<BrokerConnection> {
    guard let broker = self.metadata.brokers[node] else {
      return self.eventLoop.makeFailedFuture(KafkaError(.connection, "broker \(node) is not among the brokers that the cluster names"))
    }
    return self.connection(to: broker.address)
  }

  /// The open connection to a broker, if there is one now.
  package func openConnection(to node: Int32) -> BrokerConnection? {
    guard let broker = self.metadata.brokers[node], let connection = self.slots[broker.address]?.connection, connection.isOpen
    else { return nil }
    return connection
  }

  private func connection(to address: BrokerAddress) -> EventLoopFuture<BrokerConnection> {
    self.eventLoop.preconditionInEventLoop()
    if self.isClosed { return self.eventLoop.makeFailedFuture(KafkaError(.closed, "the client is closed")) }
    let fresh = Backoff(base: self.configuration.reconnectBackoff, maximum: self.configuration.reconnectBackoffMax)
    var slot = self.slots[address] ?? ConnectionSlot(backoff: fresh)
    if let connection = slot.connection, connection.isOpen { return self.eventLoop.makeSucceededFuture(connection) }
    if let connecting = slot.connecting { return connecting }
    let attempt =
      slot.notBefore > .now()
      ? self.eventLoop.scheduleTask(deadline: slot.notBefore) {}.futureResult.flatMap {
        BrokerConnection.connect(to: address, self.configuration, on: self.eventLoop)
      }
      : BrokerConnection.connect(to: address, self.configuration, on: self.eventLoop)
    slot.connecting = attempt
    slot.connection = nil
    self.slots[address] = slot
    attempt.whenComplete { self.finishedConnecting(to: address, $0) }
    return attempt
  }

  private func finishedConnecting(to address: BrokerAddress, _ result: Result<BrokerConnection, any Error>) {
    self.slots[address]?.connecting = nil
    switch result {
    case .success(let connection):
      if self.isClosed { return connection.close(KafkaError(.closed, "the client is closed")) }
      self.slots[address]?.connection = connection
      self.slots[address]?.backoff.reset()
      connection.onClose = { [weak self] reason, wasBusy in
        guard let self else { return }
        self.wait(beforeReconnectingTo: address)
        self.tell(self.watch.closed(address, reason, wasBusy: wasBusy, isNamed: self.isNamed(address), now: MonotonicClock.now()))
      }
      self.tell(self.watch.connected(to: address))
    case .failure(let error):
      self.wait(beforeReconnectingTo: address)
      self.tell(self.watch.failed(address, KafkaError(wrapping: error), isNamed: self.isNamed(address), now: MonotonicClock.now()))
    }
  }

  private func wait(beforeReconnectingTo address: BrokerAddress) {
    guard let wait = self.slots[address]?.backoff.next(using: &self.generator) else { return }
    self.slots[address]?.connection = nil
    self.slots[address]?.notBefore = .now() + .nanoseconds(wait.wholeNanoseconds)
  }

  /// An open connection with little to do, or else the first address that answers: known brokers, then the bootstrap list.
  package func anyConnection() -> EventLoopFuture<BrokerConnection> {
    let open = self.slots.values.lazy.compactMap(\.connection).filter(\.isOpen)
    if let connection = open.min(by: { $0.pendingCount < $1.pendingCount }) { return self.eventLoop.makeSucceededFuture(connection) }
    var addresses = self.metadata.brokers.values.map(\.address).shuffled(using: &self.generator)
    for address in self.configuration.bootstrap where !addresses.contains(address) { addresses.append(address) }
    return self.firstConnection(of: addresses[...], failure: KafkaError(.invalidArgument, "no broker address is known"))
  }

  private func firstConnection(of addresses: ArraySlice<BrokerAddress>, failure: KafkaError) -> EventLoopFuture<BrokerConnection> {
    guard let address = addresses.first else { return self.eventLoop.makeFailedFuture(failure) }
    return self.connection(to: address).flatMapError { error in
      self.firstConnection(of: addresses.dropFirst(), failure: KafkaError(wrapping: error))
    }
  }

  package func connection(to target: Target) -> EventLoopFuture<BrokerConnection> {
    switch target {
    case .any: self.anyConnection()
    case .node(let node): self.connection(to: node)
    case .controller:
      if self.metadata.controllerID >= 0 {
        self.connection(to: self.metadata.controllerID)
      } else {
        self.refreshMetadata().flatMap {
          // A KRaft cluster may name no controller to clients: any broker forwards.
          self.metadata.controllerID >= 0 ? self.connection(to: self.metadata.controllerID) : self.anyConnection()
        }
      }
    }
  }

  /// Closes every connection; what waits fails with `.closed`.
  package func close() {
    guard !self.isClosed else { return }
    self.isClosed = true
    let slots = self.slots
    self.slots = [:]
    for slot in slots.values { slot.connection?.close(KafkaError(.closed, "the client was closed")) }
  }

  // MARK: Metadata

  /// True if nothing is known yet, or what is known is older than `metadataMaxAge`.
  package var metadataIsStale: Bool {
    guard let refreshedAt = self.refreshedAt else { return true }
    return .now() - refreshedAt > .nanoseconds(self.configuration.metadataMaxAge.wholeNanoseconds)
  }

  /// Keeps `topic` in every later refresh.
  package func follow(_ topic: String) { self.topicsOfInterest.insert(topic) }
  package func unfollow(_ topic: String) { self.topicsOfInterest.remove(topic) }

  /// Asks for the topics that are followed. Calls that come while one is under way share its answer, unless topics were added since.
  package func refreshMetadata() -> EventLoopFuture<Void> { self.refreshMetadata(topics: self.topicsOfInterest) }

  /// Asks for `topics`; nil is every topic of the cluster.
  package func refreshMetadata(topics: Set<String>?) -> EventLoopFuture<Void> {
    self.eventLoop.preconditionInEventLoop()
    if let refreshing = self.refreshing {
      let covered = refreshing.topics.map { known in topics.map { known.isSuperset(of: $0) } ?? false } ?? true
      if covered { return refreshing.future }
      let over = refreshing.future.flatMapError { _ in self.eventLoop.makeSucceededVoidFuture() }
      return over.flatMap { self.refreshMetadata(topics: topics) }
    }
    let future = self.anyConnection().flatMap { self.askForMetadata(topics, on: $0) }
    self.refreshing = (future, topics)
    future.whenComplete { result in
      self.refreshing = nil
      if case .success = result {
        self.refreshedAt = .now()
        self.onMetadata?()
      }
    }
    return future
  }

  private func askForMetadata(_ topics: Set<String>?, on connection: BrokerConnection) -> EventLoopFuture<Void> {
    let version: Int16
    do throws(KafkaError) {
      version = try connection.versions.version(of: MetadataRequest.self)
    } catch {
      return self.eventLoop.makeFailedFuture(error)
    }
    var request = MetadataRequest()
    request.topics = topics.map { $0.sorted().map { MetadataRequest.MetadataRequestTopic(name: $0) } }
    // In version 0 the empty list meant every topic, and null could not be said.
    if version == 0, topics == nil { request.topics = [] }
    request.allowAutoTopicCreation = self.allowsTopicCreation
    return connection.send(request).flatMapThrowing { response in
      if response.errorCode != .none { throw KafkaError(response.errorCode, about: "metadata") }
      // A broker that has just started may know nobody yet; an answer without brokers would cut us off.
      if response.brokers.isEmpty { throw KafkaError(.leaderNotAvailable, "the broker does not know the cluster's brokers yet; try again") }
      self.metadata.merge(response)
    }
  }

  /// Takes the leader that a refusal named (KIP-951). True if that was news.
  @discardableResult
  package func observe(leader: Int32, leaderEpoch: Int32, of partition: TopicPartition) -> Bool {
    self.metadata.observe(leader: leader, leaderEpoch: leaderEpoch, of: partition)
  }
  package func observe(node: Int32, host: String, port: Int32, rack: String?) {
    self.metadata.observe(node: node, host: host, port: port, rack: rack)
  }
  package func forget(topic: String) { self.metadata.forget(topic: topic) }

  // MARK: From async code

  /// Runs `body` on the loop and waits for its future.
  package func onLoop<Value: Sendable>(
    _ body: @escaping @Sendable () -> EventLoopFuture<Value>
  ) async throws(KafkaError) -> Value {
    let future = self.eventLoop.flatSubmit(body)
    let result: Result<Value, KafkaError> = await withUnsafeContinuation { continuation in
      future.whenComplete { continuation.resume(returning: $0.mapError { KafkaError(wrapping: $0) }) }
    }
    return try result.get()
  }

  /// Sends one request and waits for its answer, without trying again.
  package func send<Request: ApiRequest>(
    _ request: Request, to target: Target, timeout: Duration? = nil
  ) async throws(KafkaError) -> Request.Response {
    try await self.onLoop { self.connection(to: target).flatMap { $0.send(request, timeout: timeout) } }
  }

  /// The same, with the version that was spoken: some answers mean less in older ones.
  package func sendTellingVersion<Request: ApiRequest>(
    _ request: Request, to target: Target
  ) async throws(KafkaError) -> (response: Request.Response, version: Int16) {
    try await self.onLoop {
      self.connection(to: target).flatMap { connection in
        connection.send(request).map { ($0, connection.versions.commonVersion(of: Request.self) ?? 0) }
      }
    }
  }

  /// Repeats `attempt` after retriable errors, with growing waits, until `operationTimeout` is over.
  package func retrying<Value: Sendable>(
    _ operation: String, _ attempt: () async throws(KafkaError) -> Value
  ) async throws(KafkaError) -> Value {
    let start = NIODeadline.now()
    let deadline = start + .nanoseconds(self.configuration.operationTimeout.wholeNanoseconds)
    let connectionDeadline = min(deadline, start + .nanoseconds(self.configuration.unreachableTimeout.wholeNanoseconds))
    var backoff = Backoff(base: self.configuration.retryBackoff, maximum: self.configuration.retryBackoffMax)
    var system = SystemRandomNumberGenerator()
    var generator = SeededGenerator(seed: system.next())
    while true {
      do throws(KafkaError) {
        return try await attempt()
      } catch {
        guard error.isRetriable else { throw error }
        let wait = backoff.next(using: &generator)
        let next = NIODeadline.now() + .nanoseconds(wait.wholeNanoseconds)
        if error.kind == .connection, next > connectionDeadline { throw error }
        if next > deadline {
          throw KafkaError(error.kind, "\(operation) did not succeed within \(self.configuration.operationTimeout): \(error)")
        }
        do { try await Task.sleep(for: wait) } catch { throw KafkaError(.cancelled, "\(operation) was cancelled") }
        // The controller has moved, or the node that was taken for it is gone: ask who it is now.
        if error.code == .notController || error.kind == .connection || error.kind == .timeout {
          _ = try? await self.onLoop { self.refreshMetadata() }
        }
      }
    }
  }
}
