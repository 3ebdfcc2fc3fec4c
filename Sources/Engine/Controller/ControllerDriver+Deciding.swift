import Base
import Environment
package import Metadata
package import Model
import NIOCore
import Synchronization

/// What a heartbeat is answered with.
package struct HeartbeatOutcome: Hashable, Sendable {
  package var answer: BrokerHeartbeat.Answer
  /// How long this controller waits for the next one. The broker's lease follows from it by `LeaseRule`.
  package var session: Duration
}

// Requests, and what the active controller makes of them.
extension ControllerDriver {
  /// Decides a request and carries it out. `completion` is called once, on the control line, when the outcome is committed and published,
  /// or was refused: with NOT_CONTROLLER where this node does not decide, or no longer did before the outcome was known.
  package func submit<Request: ControllerRequest>(
    _ request: Request, completion: @escaping @Sendable (Result<Request.Response, ApiError>) -> Void
  ) {
    self.quorum.perform {
      self.step { state, aftermath in
        guard self.isReady(&state, &aftermath, completion) else { return }
        self.passTime(&state, &aftermath)
        self.decide(request, &state, &aftermath, completion)
      }
    }
  }

  /// Registers the broker of this very process. As it holds the log directory's lock, no earlier process of the node can be alive, and
  /// nobody need be asked.
  package func registerOwn(_ request: RegisterBroker, completion: @escaping @Sendable (Result<BrokerEpoch, ApiError>) -> Void) {
    self.quorum.perform {
      self.step { state, aftermath in
        guard self.isReady(&state, &aftermath, completion) else { return }
        if let known = state.active?.machine.image.broker(request.nodeID), known.incarnationID != request.incarnationID {
          var effects: [BrokerSessions.Effect] = []
          state.active?.machine.sessions.handle(
            .probeAnswered(request.nodeID, known.epoch, incarnationID: request.incarnationID), now: self.environment.now(), into: &effects)
          // The registration takes the place of its fencing.
          effects.removeAll { if case .fence(request.nodeID, _, _) = $0 { true } else { false } }
          self.carryOut(effects, &state, &aftermath)
        }
        self.decide(request, &state, &aftermath, completion)
      }
    }
  }

  /// A broker's heartbeat: noted as a sign of life, and decided. It is answered once a majority has said that this node still led the
  /// quorum after the heartbeat had come: so the lease that the answer gives began before any later controller did, and that one need only
  /// wait for a session from its own beginning.
  package func heartbeat(_ request: BrokerHeartbeat, completion: @escaping @Sendable (Result<HeartbeatOutcome, ApiError>) -> Void) {
    self.quorum.perform {
      self.step { state, aftermath in
        guard self.isReady(&state, &aftermath, completion) else { return }
        var effects: [BrokerSessions.Effect] = []
        state.active?.machine.heard(request, now: self.environment.now(), into: &effects)
        self.carryOut(effects, &state, &aftermath)
        let session = self.setup.session
        let answer = ConfirmedAnswer<BrokerHeartbeat.Answer> { result in
          completion(result.map { HeartbeatOutcome(answer: $0, session: session) })
        }
        self.decide(request, &state, &aftermath) { answer.decided($0) }
        if self.environment.makes(.answersHeartbeatsUnconfirmed) { return answer.confirmed(.success(.zero)) }
        aftermath.append { self.quorum.confirmRead { answer.confirmed($0) } }
      }
    }
  }

  /// Elects leaders; where that is possible only with loss, and wished, the replicas are asked for the ends of their logs first.
  package func elect(
    _ request: ElectLeaders, completion: @escaping @Sendable (Result<[ElectLeaders.PartitionResult], ApiError>) -> Void
  ) {
    self.submit(request) { result in
      guard case .success(let results) = result else { return completion(result) }
      let questions = results.indices.compactMap { place -> (Int, UncleanElections.Question)? in
        if case .needsLogEnds(let question) = results[place].outcome { (place, question) } else { nil }
      }
      if questions.isEmpty { return completion(result) }
      let gathering = ElectionGathering(results, openCount: questions.count, completion)
      self.quorum.perform { self.step { self.begin(questions, gathering, &$0, &$1) } }
    }
  }

  /// Reads the state, such that everything is in it that was answered before the call, and nothing that may be lost.
  package func read<Value: Sendable>(
    _ body: @escaping @Sendable (ControllerMachine) -> Value, completion: @escaping @Sendable (Result<Value, ApiError>) -> Void
  ) {
    self.quorum.confirmRead { confirmed in
      if case .failure(let error) = confirmed {
        return completion(.failure(error.code == .notLeaderOrFollower ? ApiError(.notController, error.message) : error))
      }
      // Behind what runs now, of which the commit may be that makes this node the active controller.
      self.quorum.perform {
        self.step { state, aftermath in
          guard self.isReady(&state, &aftermath, completion), let machine = state.active?.machine else { return }
          let value = body(machine)
          self.answer(&state, &aftermath) { error in completion(error.map { .failure($0) } ?? .success(value)) }
        }
      }
    }
  }

  /// Whether this node decides; if not, `completion` hears why.
  private func isReady<Value>(
    _ state: inout State, _ aftermath: inout Aftermath, _ completion: @escaping @Sendable (Result<Value, ApiError>) -> Void
  ) -> Bool {
    if state.failure == nil, state.active != nil { return true }
    let refusal = state.failure ?? ApiError(.notController, "This node is not the active controller.")
    aftermath.append { completion(.failure(refusal)) }
    return false
  }

  // MARK: - Becoming active

  /// The log as earlier leaders left it must be known to its end before anything is decided on it.
  func activateIfReady(_ state: inout State, _ aftermath: inout Aftermath) {
    guard state.failure == nil, let (epoch, from, since) = state.leading, state.active == nil, state.position >= from,
      var machine = state.standby
    else { return }
    self.finishLoading(&state, &aftermath)
    if state.failure != nil { return }
    state.standby = nil
    state.leading = nil
    let now = self.environment.now()
    machine.sessions.rule = self.setup.lease
    var effects: [BrokerSessions.Effect] = []
    machine.sessions.handle(.activated(machine.image.brokers), now: now, into: &effects)
    var upkeep = ControllerUpkeep(self.setup.upkeep)
    upkeep.activate(now: now)
    let isNew = machine.image.featureLevel(MetadataVersion.feature) == nil
    state.active = Active(
      epoch: epoch, machine: machine, upkeep: upkeep, elections: UncleanElections(answerTimeout: self.setup.probeTimeout))
    aftermath.append { self.listener.controllerEvent(.becameActive(epoch: epoch, took: now - since)) }
    if isNew {
      self.appendOwn(
        ControllerMachine.bootstrapRecords(minInSyncReplicas: self.setup.settings.minInSyncReplicas), &state, &aftermath)
    }
    self.carryOut(effects, &state, &aftermath)
    self.decide(ElectOfflineLeaders(), &state, &aftermath) { _ in }
  }

  /// What was decided and is not committed may or may not ever be: the log tells.
  func stepDown(_ state: inout State, _ aftermath: inout Aftermath) {
    state.leading = nil
    guard let active = state.active else { return }
    let (epoch, unanswered) = (active.epoch, active.pending.count)
    aftermath.append { self.listener.controllerEvent(.steppedDown(epoch: epoch, unanswered: unanswered)) }
    self.dismiss(
      &state, &aftermath,
      ApiError(.notController, "This node is no longer the active controller. What was asked for may still happen."))
    // Making one anew goes through every partition; that is only needed where something was decided that is not committed.
    if active.pending.allSatisfy({ $0.published == nil }) {
      var machine = active.machine
      machine.forgetSessions()
      state.standby = machine
    } else {
      state.standby = self.machine(of: state.image, keeping: nil)
    }
  }

  /// Ends the active controller and refuses what waits.
  func dismiss(_ state: inout State, _ aftermath: inout Aftermath, _ refusal: ApiError) {
    guard let active = state.active else { return }
    state.active = nil
    for pending in active.pending { aftermath.append { pending.answer(refusal) } }
    for waits in active.electionWaits.sorted(by: { $0.key < $1.key }) {
      for wait in waits.value { aftermath.append { wait(refusal) } }
    }
    if let drained = state.whenDrained { aftermath.append(drained) }
    state.whenDrained = nil
  }

  // MARK: - Deciding

  func decide<Request: ControllerRequest>(
    _ request: Request, _ state: inout State, _ aftermath: inout Aftermath,
    _ completion: @escaping @Sendable (Result<Request.Response, ApiError>) -> Void
  ) {
    guard let machine = state.active?.machine else { return aftermath.append { completion(.failure(ApiError(.notController))) } }
    do throws(ApiError) {
      let decision = try request.decide(on: machine, nextOffset: self.quorum.logEndOffset)
      let response = decision.response
      let batches = decision.batches
      for (number, batch) in batches.enumerated() {
        let isLast = number == batches.count - 1
        do throws(MetadataLogError) {
          // Every batch but the last is published on its own: nobody waits for it alone.
          try self.append(batch, &state, &aftermath) { error in
            if isLast { completion(error.map { .failure($0) } ?? .success(response)) }
          }
        } catch {
          let reason = "The change could not be written\(number > 0 ? " to its end" : ""): \(error.reason)"
          throw ApiError(error.code == .notLeaderOrFollower ? .notController : error.code, reason)
        }
      }
      if batches.isEmpty { self.answer(&state, &aftermath) { completion($0.map { .failure($0) } ?? .success(response)) } }
    } catch {
      if let registration = request as? RegisterBroker, error.code == .duplicateBrokerRegistration {
        self.tell(.duplicateRegistered(registration.nodeID), &state, &aftermath)
      }
      // A refusal may rest on what is not committed yet, so that it waits with the others.
      self.answer(&state, &aftermath) { failure in completion(.failure(failure ?? error)) }
    }
  }

  /// Answers once everything decided so far is committed.
  private func answer(_ state: inout State, _ aftermath: inout Aftermath, _ answer: @escaping @Sendable (ApiError?) -> Void) {
    guard let last = state.active?.pending.last else { return aftermath.append { answer(nil) } }
    state.active?.pending.append(Pending(endOffset: last.endOffset, published: nil, answer: answer))
  }

  /// Records that nobody asked for. If they cannot be written this node leads no more, or not for long.
  private func appendOwn(_ records: [MetadataChange], _ state: inout State, _ aftermath: inout Aftermath) {
    do throws(MetadataLogError) { try self.append(records, &state, &aftermath) { _ in } } catch {}
  }

  /// Appends and replays one batch. If it throws, the state is as before.
  private func append(
    _ records: [MetadataChange], _ state: inout State, _ aftermath: inout Aftermath, answer: @escaping @Sendable (ApiError?) -> Void
  ) throws(MetadataLogError) {
    // Taken out of the state, so that nothing of it is copied.
    guard var active = state.active else { throw MetadataLogError("this node does not decide", code: .notController) }
    state.active = nil
    defer { state.active = active }
    let encoded = records.map(\.encoded)
    let first = try self.quorum.propose(encoded, in: active.epoch)
    var delta = MetadataDelta()
    for (index, record) in records.enumerated() {
      do throws(ReplayError) { try active.machine.replay(record, at: first + Int64(index), into: &delta) } catch {
        // Decided on this very state: it is our own mistake, and the log has it already.
        fatalError("invariant broken: a decided record does not fit: \(error)")
      }
      if case .brokerRegistrationChange(let change) = record, change.isFenced == true { active.fencingCauses[change.nodeID] = change.cause }
    }
    let isHasty = self.environment.makes(.answersBeforeCommit)
    if isHasty { aftermath.append { answer(nil) } }
    active.pending.append(
      Pending(endOffset: first + Int64(records.count), published: (active.machine.image, delta)) { if !isHasty { answer($0) } })
    state.snapshot.bytes += encoded.reduce(0) { $0 + Int64($1.readableBytes) }
    // Also where a broker was fenced or came back: who is waited for, and who can be asked, may be others now.
    if delta.transitions.contains(where: { !$0.after.hasLeader }) || !delta.changedConfigs.isEmpty || !delta.changedBrokers.isEmpty {
      active.upkeep.leaderLost(now: self.environment.now())
    }
  }

  // MARK: - Publishing

  /// What was decided here is committed: it is published as it was decided, without reading the log.
  func publishDecided(upTo end: Offset, _ state: inout State, _ aftermath: inout Aftermath) {
    guard var active = state.active else { return }
    state.active = nil
    let count = active.pending.prefix { $0.endOffset <= end }.count
    for pending in active.pending[..<count] {
      if let (image, delta) = pending.published {
        let events = self.events(from: state.image, to: image, delta, &active.fencingCauses)
        state.image = image
        aftermath.append {
          self.publish(image, delta)
          for event in events { self.listener.controllerEvent(event) }
        }
      }
      state.position = max(state.position, pending.endOffset)
      aftermath.append { pending.answer(nil) }
    }
    active.pending.removeFirst(count)
    // The rest are records of the log's own.
    if active.pending.isEmpty { state.position = max(state.position, end) }
    let isDrained = active.pending.isEmpty
    state.active = active
    if isDrained, let drained = state.whenDrained {
      aftermath.append(drained)
      state.whenDrained = nil
    }
    self.takeSnapshotIfDue(&state)
  }

  private func events(
    from old: MetadataImage, to new: MetadataImage, _ delta: MetadataDelta, _ causes: inout [NodeID: FencingCause]
  ) -> [ControllerEvent] {
    var events: [ControllerEvent] = []
    for id in delta.changedBrokers {
      let before = old.broker(id)
      guard let broker = new.broker(id) else {
        events.append(.brokerUnregistered(id))
        continue
      }
      if before?.epoch != broker.epoch {
        events.append(.brokerRegistered(id, broker.epoch, incarnationID: broker.incarnationID))
      } else if let before, before.isFenced != broker.isFenced {
        let event = broker.isFenced ? .brokerFenced(id, broker.epoch, cause: causes[id]) : ControllerEvent.brokerUnfenced(id, broker.epoch)
        events.append(event)
      }
      if broker.isInControlledShutdown, before?.isInControlledShutdown != true { events.append(.brokerShutsDown(id, broker.epoch)) }
      causes[id] = nil
    }
    for transition in delta.transitions where transition.leaderChanged || transition.inSyncReplicasChanged {
      guard let topic = new.topic(transition.partition.topicID) else { continue }
      events.append(.partitionChanged(TopicPartition(topic.name, transition.partition.partition), transition))
    }
    return events
  }
}

/// An answer that holds only if this node still led the quorum after it was asked.
private final class ConfirmedAnswer<Value: Sendable>: Sendable {
  private struct State: Sendable {
    var decision: Result<Value, ApiError>?
    var leadership: Result<Offset, ApiError>?
  }
  private let state = Mutex(State())
  private let completion: @Sendable (Result<Value, ApiError>) -> Void

  init(_ completion: @escaping @Sendable (Result<Value, ApiError>) -> Void) { self.completion = completion }

  func decided(_ decision: Result<Value, ApiError>) { self.note { $0.decision = decision } }
  func confirmed(_ leadership: Result<Offset, ApiError>) { self.note { $0.leadership = leadership } }

  private func note(_ body: (inout State) -> Void) {
    let result = self.state.withLock { state -> Result<Value, ApiError>? in
      body(&state)
      guard let decision = state.decision, let leadership = state.leadership else { return nil }
      if case .failure(let error) = leadership {
        return .failure(ApiError(.notController, "This node cannot tell whether it is still the active controller: \(error)"))
      }
      return decision
    }
    if let result { self.completion(result) }
  }
}
