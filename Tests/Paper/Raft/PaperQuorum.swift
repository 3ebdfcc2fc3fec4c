import Base
import Election
import Model
import Raft

/// A few replicas with instant disks and a network that delivers in order and at once, except to and from those that are cut off.
/// Time moves from deadline to deadline, and only as far as a test lets it.
final class PaperQuorum {
  struct Entry: Hashable {
    var term: Term
    /// What a client proposed; nil for control entries.
    var command: String?
    var control: ControlEntry?
  }
  private enum Message {
    case request(from: Int32, to: Int32, CallID, RaftRequest)
    case answer(from: Int32, to: Int32, CallID, IncomingAnswer)
    case done(at: Int32, RaftInput)
  }

  private(set) var machines: [Int32: RaftMachine] = [:]
  private(set) var logs: [Int32: [Entry]] = [:]
  private(set) var applied: [Int32: [Entry]] = [:]
  private(set) var traces: [(node: Int32, trace: RaftTrace)] = []
  private(set) var toolAnswers: [(node: Int32, status: QuorumStatus)] = []
  private(set) var reads: [(node: Int32, id: ReadID, index: LogIndex)] = []
  private(set) var now = Instant.origin
  let ids: [Int32]
  var cutOff: Set<Int32> = []
  private var queue: [Message] = []
  private var inbound: [RequestID: (to: Int32, call: CallID)] = [:]
  private var payloads: [PayloadID: [Entry]] = [:]
  private var nextID: UInt64 = 0

  init(voters: [Int32], others: [Int32] = [], configure: (inout RaftConfig) -> Void = { _ in }) {
    self.ids = voters + others
    for id in self.ids {
      var config = Self.config(id, bootstrap: voters)
      configure(&config)
      let set = VoterSet(voters.map { Self.config($0, bootstrap: []).voter }) ?? .empty
      let log = LogSummary(voters: others.contains(id) ? .empty : set, version: .dynamicVoters)
      self.machines[id] = RaftMachine(config: config, hardState: HardState(), log: log, seed: UInt64(id), now: .origin)
      self.logs[id] = []
      self.applied[id] = []
    }
    for id in self.ids { self.take(id, .timerFired) }
  }

  static func key(_ id: Int32) -> ReplicaKey { ReplicaKey(NodeID(id), KafkaUUID(high: 1, low: UInt64(id))) }
  static func endpoints(_ id: Int32) -> [Endpoint] { [Endpoint(listener: "C", address: Address(host: "n", port: UInt16(id)))] }

  private static func config(_ id: Int32, bootstrap: [Int32]) -> RaftConfig {
    var config = RaftConfig(local: Self.key(id), endpoints: Self.endpoints(id), isController: true, listener: "C", clusterID: "c")
    config.bootstrapServers = bootstrap.map { Self.endpoints($0)[0].address }
    return config
  }

  func machine(_ id: Int32) -> RaftMachine {
    guard let machine = self.machines[id] else { preconditionFailure("no replica \(id)") }
    return machine
  }
  func commands(_ id: Int32) -> [String] { (self.logs[id] ?? []).compactMap(\.command) }
  func appliedCommands(_ id: Int32) -> [String] { (self.applied[id] ?? []).compactMap(\.command) }

  /// Those that lead and can be reached.
  var leaders: [Int32] { self.ids.filter { self.machine($0).role == .leader && !self.cutOff.contains($0) } }

  // MARK: What a test does

  /// Lets time pass, with everything that happens in it.
  func run(for time: Duration) {
    let end = self.now + time
    while true {
      self.settle()
      let next = self.ids.compactMap { self.machine($0).nextDeadline }.min() ?? .distantFuture
      if next > end { break }
      self.now = max(self.now, next)
      for id in self.ids where (self.machine(id).nextDeadline ?? .distantFuture) <= self.now { self.take(id, .timerFired) }
    }
    self.now = end
  }

  /// Until one of those that can be reached leads, and its term is established.
  func elect() -> Int32 {
    for _ in 0..<400 {
      self.run(for: .milliseconds(50))
      if let leader = self.leaders.last, self.machine(leader).describe(at: self.now)?.highWatermark == self.machine(leader).log.endIndex {
        return leader
      }
    }
    preconditionFailure("nobody is elected: \(self.ids.map { "\(self.machine($0))" })")
  }

  func propose(_ command: String, to id: Int32) {
    self.nextID += 1
    self.payloads[PayloadID(self.nextID)] = [Entry(term: .zero, command: command)]
    self.take(id, .propose(PayloadID(self.nextID), count: 1, term: self.machine(id).term))
  }

  func take(_ id: Int32, _ input: RaftInput) {
    var effects: [RaftEffect] = []
    self.machines[id]?.handle(input, now: self.now, into: &effects)
    for effect in effects { self.run(effect, id) }
  }

  func ask(_ id: Int32, _ request: RaftRequest) {
    self.nextID += 1
    self.inbound[RequestID(self.nextID)] = (0, CallID(0))
    self.take(id, .request(RequestID(self.nextID), request))
  }

  /// Delivers until nothing is on its way.
  func settle() {
    while !self.queue.isEmpty {
      switch self.queue.removeFirst() {
      case .done(let id, let input): self.take(id, input)
      case .request(let from, let to, let call, let request):
        guard !self.isCut(from, to) else {
          self.take(from, .callFailed(call))
          continue
        }
        self.nextID += 1
        self.inbound[RequestID(self.nextID)] = (from, call)
        self.take(to, .request(RequestID(self.nextID), request))
      case .answer(let from, let to, let call, let answer):
        if !self.isCut(from, to) { self.take(to, .answer(call, answer)) }
      }
    }
  }

  private func isCut(_ a: Int32, _ b: Int32) -> Bool { self.cutOff.contains(a) || self.cutOff.contains(b) }

  // MARK: The driver's part

  private func run(_ effect: RaftEffect, _ id: Int32) {
    switch effect {
    // The disk is done before the next message: whatever waits for it goes in its turn.
    case .persist(_, let token): self.queue.append(.done(at: id, .statePersisted(token)))
    case .call(let call, let destination, let request, _):
      self.queue.append(.request(from: id, to: Int32(destination.address.port), call, request))
    case .answer(let request, let answer, _):
      guard let inbound = self.inbound.removeValue(forKey: request) else { preconditionFailure("an answer to nobody") }
      if inbound.to == 0 { return self.toolAnswers.append((id, answer.status)) }
      self.queue.append(.answer(from: id, to: inbound.to, inbound.call, self.filled(answer, id)))
    case .append(let append):
      let entries: [Entry]
      switch append.content {
      case .proposed(let payload, let term): entries = (self.payloads[payload] ?? []).map { Entry(term: term, command: $0.command) }
      case .controls(let controls, let term): entries = controls.map { Entry(term: term, control: $0) }
      case .fetched(let payload): entries = self.payloads[payload] ?? []
      }
      self.logs[id]? += entries
      self.queue.append(.done(at: id, .logPersisted(append.token)))
    case .truncate(let index, let token):
      self.logs[id]?.removeSubrange(Int(index.rawValue)...)
      self.queue.append(.done(at: id, .logPersisted(token)))
    case .advanceHighWatermark(let index):
      let from = self.applied[id]?.count ?? 0
      self.applied[id]? += self.logs[id]?[from..<Int(index.rawValue)] ?? []
    case .confirmRead(let read, let index): self.reads.append((id, read, index))
    case .trace(let trace): self.traces.append((id, trace))
    case .writeSnapshot, .installSnapshot, .discardSnapshot, .dropPrefix, .loadSnapshot, .refuseProposal, .refuseRead, .becomeLeader,
      .stepDown, .leaderChanged, .shutDownCompleted:
      break
    }
  }

  private func filled(_ answer: OutgoingAnswer, _ id: Int32) -> IncomingAnswer {
    switch answer.body {
    case .status, .fetchSnapshot: return IncomingAnswer(answer.status)
    case .vote(let isGranted): return IncomingAnswer(answer.status, .vote(isGranted: isGranted))
    case .versions(let versions): return IncomingAnswer(answer.status, .versions(versions))
    case .fetch(let fetch):
      let content: FetchAnswer<EntryRun>.Content
      switch fetch.content {
      case .nothing: content = .nothing
      case .diverging(let end): content = .diverging(end)
      case .snapshot(let snapshot): content = .snapshot(snapshot)
      case .entries(let range): content = .entries(self.run(of: range, id))
      }
      return IncomingAnswer(
        answer.status, .fetch(FetchAnswer(highWatermark: fetch.highWatermark, logStart: fetch.logStart, content: content)))
    }
  }

  private func run(of range: EntryRange, _ id: Int32) -> EntryRun {
    let entries = Array((self.logs[id] ?? [])[Int(range.start.rawValue)..<Int(range.end.rawValue)])
    var terms: [TermStart] = []
    var controls: [PlacedControl] = []
    for (place, entry) in entries.enumerated() {
      let index = range.start + Int64(place)
      if terms.last?.term != entry.term { terms.append(TermStart(term: entry.term, index: index)) }
      if let control = entry.control { controls.append(PlacedControl(index: index, entry: control)) }
    }
    self.nextID += 1
    self.payloads[PayloadID(self.nextID)] = entries
    return EntryRun(start: range.start, end: range.end, terms: terms, controls: controls, payload: PayloadID(self.nextID))
  }
}
