import Base
package import Environment
import Model
import NIOCore
import Synchronization
package import Wire

/// Requests to one other node: one connection, made when it is needed, on which answers come in the order of the requests.
///
/// Nothing is tried again here: a machine that wants an answer asks anew, with its own patience, and the next request makes the next
/// connection. When a connection ends, every request that waits fails with the reason, and `onDisconnect` hears of it once; so a
/// failure detector learns of a death as early as the system tells.
///
/// Every call may come from any thread. Completions run with no lock held, on the network's thread, the timer's, or the caller's.
package final class Peer<Env: Environment>: Sendable {
  /// A request that was not sent yet, because nobody knows the other node's versions.
  private struct Draft: Sendable {
    var deadline: Instant
    /// The frame in the best common version and what takes its answer, or nil where there is no common version.
    var encode: @Sendable (VersionTable, _ correlationID: Int32) -> (frame: ByteBuffer, complete: Completion)?
    var fail: @Sendable (PeerError) -> Void
    var apiKey: ApiKey
  }
  private struct Waiting: Sendable {
    var correlationID: Int32
    var deadline: Instant
    var complete: Completion
  }
  private struct State: Sendable {
    var link: Env.Network.Link?
    /// Counts connections, so that a late event of an earlier one is told apart.
    var generation: UInt64 = 0
    var versions: VersionTable?
    var drafts: [Draft] = []
    /// In the order of sending.
    var waiting: [Waiting] = []
    var nextCorrelationID: Int32 = 0
    var timer: Env.Timer?
    var timerDeadline = Instant.distantFuture
    var isClosed = false
  }
  private typealias Completion = @Sendable (Result<ByteBuffer, PeerError>) -> Void
  /// What is to run once the lock is released.
  private typealias Effects = [@Sendable () -> Void]

  package let address: NodeAddress
  private let environment: Env
  private let traffic: Traffic
  private let clientID: String
  private let onDisconnect: @Sendable (LinkFailure) -> Void
  private let state = Mutex(State())

  /// - Parameters:
  ///   - clientID: how this node names itself in its requests.
  ///   - onDisconnect: a connection ended that this side did not close, or could not be made.
  package init(
    _ address: NodeAddress, for traffic: Traffic, clientID: String, environment: Env,
    onDisconnect: @escaping @Sendable (LinkFailure) -> Void = { _ in }
  ) {
    self.address = address
    self.traffic = traffic
    self.clientID = clientID
    self.environment = environment
    self.onDisconnect = onDisconnect
  }

  /// Whether a connection stands and the other node's versions are known.
  package var isConnected: Bool { self.state.withLock { $0.versions != nil } }

  private func step(_ body: (inout State, inout Effects) -> Void) {
    let effects = self.state.withLock { state in
      var effects: Effects = []
      body(&state, &effects)
      return effects
    }
    for effect in effects { effect() }
  }

  // MARK: - Asking

  /// Sends `request` in the highest common version that is not above `limit`. `complete` runs exactly once.
  package func call<Request: ApiRequest>(
    _ request: Request, notAbove limit: Int16 = .max, timeout: Duration,
    _ complete: @escaping @Sendable (Result<Request.Response, PeerError>) -> Void
  ) {
    let clientID = self.clientID
    let draft = Draft(
      deadline: self.environment.now() + timeout,
      encode: { versions, correlationID in
        guard let version = versions.commonVersion(of: Request.self, notAbove: limit) else { return nil }
        let frame = Frame.request(request, version: version, correlationId: correlationID, clientId: clientID).buffer
        return (frame, { complete(Self.decode(Request.self, version, $0)) })
      },
      fail: { complete(.failure($0)) }, apiKey: Request.apiKey)
    self.step { state, effects in
      if state.isClosed { return effects.append { draft.fail(.disconnected(.closedHere)) } }
      self.arm(&state, for: draft.deadline)
      if let versions = state.versions { return self.send(draft, versions, &state, &effects) }
      state.drafts.append(draft)
      if state.link == nil { self.connect(&state) }
    }
  }

  private static func decode<Request: ApiRequest>(
    _: Request.Type, _ version: Int16, _ body: Result<ByteBuffer, PeerError>
  ) -> Result<Request.Response, PeerError> {
    body.flatMap { bytes in
      do throws(WireError) { return .success(try RequestFrame.decodeAnswer(to: Request.self, version: version, from: bytes)) } catch {
        return .failure(.malformed(error))
      }
    }
  }

  private func send(_ draft: Draft, _ versions: VersionTable, _ state: inout State, _ effects: inout Effects) {
    let correlationID = Self.takeCorrelationID(&state)
    guard let link = state.link, let (frame, complete) = draft.encode(versions, correlationID) else {
      return effects.append { draft.fail(.unsupported(draft.apiKey)) }
    }
    state.waiting.append(Waiting(correlationID: correlationID, deadline: draft.deadline, complete: complete))
    link.send(frame)
  }

  private static func takeCorrelationID(_ state: inout State) -> Int32 {
    defer { state.nextCorrelationID = state.nextCorrelationID == .max ? 0 : state.nextCorrelationID + 1 }
    return state.nextCorrelationID
  }

  /// Ends the connection; requests that wait fail, and so does every later one.
  package func close() {
    self.step { state, effects in
      state.isClosed = true
      self.drop(&state, .disconnected(.closedHere), &effects)
    }
  }

  // MARK: - The connection

  private func connect(_ state: inout State) {
    state.generation += 1
    let generation = state.generation
    state.link = self.environment.network.connect(to: self.address, for: self.traffic) { [weak self] in self?.receive($0, generation) }
  }

  private func receive(_ event: LinkEvent, _ generation: UInt64) {
    self.step { state, effects in
      guard generation == state.generation, state.link != nil else { return }
      switch event {
      case .opened: self.askForVersions(ApiVersionsRequest.supportedVersions.upperBound, &state)
      case .received(let body): self.receive(body, &state, &effects)
      case .closed(let failure): self.lose(failure, &state, &effects)
      }
    }
  }

  private func receive(_ body: ByteBuffer, _ state: inout State, _ effects: inout Effects) {
    guard let due = state.waiting.first, body.getInteger(at: body.readerIndex, as: Int32.self) == due.correlationID else {
      return self.lose(.malformed(reason: "an answer to another request than the one that is due"), &state, &effects)
    }
    state.waiting.removeFirst()
    effects.append { due.complete(.success(body)) }
  }

  /// The other side is gone, or makes no sense.
  private func lose(_ failure: LinkFailure, _ state: inout State, _ effects: inout Effects) {
    let onDisconnect = self.onDisconnect
    // The detector hears of it before the requests do: their failures may bring new ones.
    effects.append { onDisconnect(failure) }
    self.drop(&state, .disconnected(failure), &effects)
  }

  private func drop(_ state: inout State, _ error: PeerError, _ effects: inout Effects) {
    let (link, timer, waiting, drafts) = (state.link, state.timer, state.waiting, state.drafts)
    (state.link, state.versions, state.timer, state.waiting, state.drafts) = (nil, nil, nil, [], [])
    timer?.cancel()
    effects.append {
      link?.close()
      for request in waiting { request.complete(.failure(error)) }
      for draft in drafts { draft.fail(error) }
    }
  }

  // MARK: - Versions

  /// Asks in the newest form first: a node that does not know it answers in the oldest, with the range that it knows (KIP-511).
  private func askForVersions(_ version: Int16, _ state: inout State) {
    let correlationID = Self.takeCorrelationID(&state)
    let request = ApiVersionsRequest(clientSoftwareName: "apus", clientSoftwareVersion: "0")
    let frame = Frame.request(request, version: version, correlationId: correlationID, clientId: self.clientID).buffer
    // The first draft's patience covers the question too: the timer is set for it.
    let generation = state.generation
    let answer = Waiting(correlationID: correlationID, deadline: .distantFuture) { [weak self] body in
      if case .success(let bytes) = body { self?.noteVersions(bytes, asked: version, generation) }
    }
    state.waiting.append(answer)
    state.link?.send(frame)
  }

  private func noteVersions(_ body: ByteBuffer, asked version: Int16, _ generation: UInt64) {
    self.step { state, effects in
      guard generation == state.generation, state.link != nil else { return }
      do throws(WireError) {
        let response = try RequestFrame.decodeApiVersions(body, asked: version)
        if response.errorCode == .unsupportedVersion, version > 0 {
          let known = VersionTable(response).range(of: ApiKey.apiVersions.rawValue)?.upperBound ?? version - 1
          return self.askForVersions(max(0, min(version - 1, known)), &state)
        }
        guard response.errorCode == .none else { return self.drop(&state, .refusedVersions(response.errorCode), &effects) }
        let versions = VersionTable(response)
        state.versions = versions
        let drafts = state.drafts
        state.drafts = []
        for draft in drafts { self.send(draft, versions, &state, &effects) }
      } catch {
        self.lose(.malformed(reason: "\(error)"), &state, &effects)
      }
    }
  }

  // MARK: - Time

  /// One timer for all, set for the least patient request.
  private func arm(_ state: inout State, for deadline: Instant) {
    if state.timer != nil, state.timerDeadline <= deadline { return }
    state.timer?.cancel()
    state.timerDeadline = deadline
    state.timer = self.environment.schedule(after: max(.zero, deadline - self.environment.now())) { [weak self] in self?.timerFired() }
  }

  private func timerFired() {
    let now = self.environment.now()
    self.step { state, effects in
      state.timer = nil
      state.timerDeadline = .distantFuture
      let earliest = (state.waiting.map(\.deadline) + state.drafts.map(\.deadline)).min() ?? .distantFuture
      if earliest == .distantFuture { return }
      if earliest > now { return self.arm(&state, for: earliest) }
      let onDisconnect = self.onDisconnect
      effects.append { onDisconnect(.unreachable(reason: "no answer in time")) }
      self.drop(&state, .timedOut, &effects)
    }
  }
}
