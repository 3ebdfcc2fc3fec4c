import Base
import Election
import Model
import Raft

/// A machine with a driver around it that does nothing by itself: a test says what completes, what is answered, and when.
struct Replica {
  struct Call {
    var id: CallID
    var destination: Destination
    var request: RaftRequest
    var after: PersistToken?
  }

  var machine: RaftMachine
  var now = Instant.origin
  /// Of the last input.
  var effects: [RaftEffect] = []
  /// Requests that went out and were not answered yet.
  var calls: [Call] = []
  private var requestCount: UInt64 = 0

  init(_ machine: RaftMachine) { self.machine = machine }

  /// Replica `id` of the quorum `voters`, formatted with them.
  init(
    _ id: Int32, voters: [Int32] = [1, 2, 3], version: KRaftVersion = .dynamicVoters, state: HardState = HardState(),
    log: LogSummary? = nil, configure: (inout RaftConfig) -> Void = { _ in }
  ) {
    var config = Self.config(id)
    configure(&config)
    let log = log ?? LogSummary(voters: Self.voters(voters, version), version: version)
    self.machine = RaftMachine(config: config, hardState: state, log: log, seed: 7, now: .origin)
  }

  static func key(_ id: Int32) -> ReplicaKey { ReplicaKey(NodeID(id), KafkaUUID(high: 1, low: UInt64(id))) }
  static func address(_ id: Int32) -> Address { Address(host: "node\(id)", port: 9093) }
  static func endpoints(_ id: Int32) -> [Endpoint] { [Endpoint(listener: "CONTROLLER", address: Self.address(id))] }

  static func config(_ id: Int32) -> RaftConfig {
    RaftConfig(local: Self.key(id), endpoints: Self.endpoints(id), isController: true, listener: "CONTROLLER", clusterID: "c")
  }

  static func voters(_ ids: [Int32], _ version: KRaftVersion = .dynamicVoters) -> VoterSet {
    let voters = ids.map { id in
      Voter(
        key: version == .staticVoters ? ReplicaKey(NodeID(id)) : Self.key(id), endpoints: Self.endpoints(id),
        versions: SupportedVersions(.staticVoters, .dynamicVoters))
    }
    return VoterSet(voters) ?? .empty
  }

  /// A log with these runs of entries, all on disk: `[(1, 3), (2, 1)]` is three entries of term 1 and one of term 2.
  static func log(
    _ runs: [(term: Int32, count: Int64)], voters: [Int32] = [1, 2, 3], version: KRaftVersion = .dynamicVoters
  ) -> LogSummary {
    var log = LogSummary(voters: Self.voters(voters, version), version: version)
    for run in runs {
      let terms = [TermStart(term: Term(run.term), index: log.endIndex)]
      log.append(EntryRun(start: log.endIndex, end: log.endIndex + run.count, terms: terms, payload: PayloadID(0)))
    }
    log.persist(upTo: log.endIndex)
    return log
  }

  // MARK: Inputs

  @discardableResult
  mutating func take(_ input: RaftInput) -> [RaftEffect] {
    self.effects = []
    self.machine.handle(input, now: self.now, into: &self.effects)
    for effect in self.effects {
      if case .call(let id, let destination, let request, let after) = effect {
        self.calls.append(Call(id: id, destination: destination, request: request, after: after))
      }
    }
    return self.effects
  }

  mutating func pass(_ time: Duration) {
    self.now = self.now + time
    self.take(.timerFired)
  }

  /// Lets time pass until the machine has something to do.
  mutating func passToDeadline() {
    guard let deadline = self.machine.nextDeadline else { return }
    self.now = max(self.now, deadline)
    self.take(.timerFired)
  }

  /// Everything that was written so far is on disk.
  mutating func sync() {
    var tokens: [RaftInput] = []
    for effect in self.effects {
      switch effect {
      case .persist(_, let token): tokens.append(.statePersisted(token))
      case .append(let append): tokens.append(.logPersisted(append.token))
      case .truncate(_, let token): tokens.append(.logPersisted(token))
      default: break
      }
    }
    var all = self.effects
    for token in tokens { all += self.take(token) }
    self.effects = all
  }

  /// Hands a request in, lets all writes complete, and gives the answer back; nil if there is none yet.
  @discardableResult
  mutating func ask(_ request: RaftRequest) -> OutgoingAnswer? {
    let id = self.begin(request)
    self.sync()
    return self.answer(to: id)
  }

  /// Hands a request in and leaves the writes under way.
  mutating func begin(_ request: RaftRequest) -> RequestID {
    self.requestCount += 1
    self.take(.request(RequestID(self.requestCount), request))
    return RequestID(self.requestCount)
  }

  func answer(to id: RequestID) -> OutgoingAnswer? {
    for case .answer(id, let answer, _) in self.effects { return answer }
    return nil
  }

  /// Answers the oldest call to `node` that `body` is for.
  mutating func reply(from node: Int32, _ kind: RequestKind, _ status: QuorumStatus, _ body: IncomingAnswer.Body = .status) {
    guard let place = self.calls.firstIndex(where: { $0.destination.node == NodeID(node) && $0.request.kind == kind }) else {
      preconditionFailure("there is no \(kind) to \(node) among \(self.calls.map { "\($0.request.kind) to \($0.destination)" })")
    }
    self.take(.answer(self.calls.remove(at: place).id, IncomingAnswer(status, body)))
  }

  /// The oldest such call fails.
  mutating func fail(_ kind: RequestKind, to node: Int32) {
    guard let place = self.calls.firstIndex(where: { $0.destination.node == NodeID(node) && $0.request.kind == kind }) else {
      preconditionFailure("there is no \(kind) to node \(node)")
    }
    self.take(.callFailed(self.calls.remove(at: place).id))
  }

  func hasCall(_ kind: RequestKind, to node: Int32) -> Bool {
    self.calls.contains { $0.request.kind == kind && $0.destination.node == NodeID(node) }
  }

  var traces: [RaftTrace] {
    self.effects.compactMap { effect in if case .trace(let trace) = effect { trace } else { nil } }
  }

  // MARK: Ways to a role

  /// Wins an election of the next term with the votes of `others`, and has everything on disk.
  mutating func win(with others: [Int32] = [2]) {
    while self.machine.role != .preCandidate { self.passToDeadline() }
    let term = self.machine.term
    for other in others { self.reply(from: other, .preVote, QuorumStatus(term: term), .vote(isGranted: true)) }
    self.sync()
    for other in others { self.reply(from: other, .vote, QuorumStatus(term: term.next), .vote(isGranted: true)) }
    self.sync()
  }

  /// Follows `leader` in `term`, has heard it, and has everything on disk.
  mutating func follow(_ leader: Int32, term: Int32) {
    self.ask(.beginQuorum(Self.begin(leader, term)))
  }

  static func begin(_ leader: Int32, _ term: Int32, to voter: ReplicaKey? = nil) -> BeginQuorumRequest {
    BeginQuorumRequest(clusterID: "c", voter: voter, term: Term(term), leader: NodeID(leader), endpoints: Self.endpoints(leader))
  }

  static func vote(_ candidate: Int32, _ term: Int32, log: (Int32, Int64) = (0, 0), isPreVote: Bool = false) -> VoteRequest {
    VoteRequest(
      clusterID: "c", voter: nil, term: Term(term), candidate: Self.key(candidate),
      logEnd: LogEnd(term: Term(log.0), index: LogIndex(log.1)), isPreVote: isPreVote)
  }

  static func fetch(_ replica: Int32, _ term: Int32, _ position: (Int32, Int64), watermark: Int64? = nil) -> FetchRequest {
    FetchRequest(
      clusterID: "c", replica: Self.key(replica), term: Term(term),
      position: LogEnd(term: Term(position.0), index: LogIndex(position.1)), highWatermark: watermark.map { LogIndex($0) },
      waitMax: .milliseconds(500), bytesMax: 1000)
  }

  /// What a leader of `term` answers to a fetch.
  static func fetched(
    _ leader: Int32, _ term: Int32, watermark: Int64 = 0, _ content: FetchAnswer<EntryRun>.Content
  ) -> (QuorumStatus, IncomingAnswer.Body) {
    let status = QuorumStatus(term: Term(term), leader: NodeID(leader), leaderAddress: Self.address(leader))
    return (status, .fetch(FetchAnswer(highWatermark: LogIndex(watermark), logStart: .zero, content: content)))
  }

  static func run(_ start: Int64, _ end: Int64, term: Int32, controls: [PlacedControl] = []) -> EntryRun {
    EntryRun(
      start: LogIndex(start), end: LogIndex(end), terms: [TermStart(term: Term(term), index: LogIndex(start))],
      controls: controls, payload: PayloadID(9))
  }
}

extension Array where Element == RaftEffect {
  var watermarks: [LogIndex] { self.compactMap { if case .advanceHighWatermark(let index) = $0 { index } else { nil } } }
  var appends: [LogAppend] { self.compactMap { if case .append(let append) = $0 { append } else { nil } } }
  var persists: [(state: HardState, token: PersistToken)] {
    self.compactMap { if case .persist(let state, let token) = $0 { (state, token) } else { nil } }
  }
}
