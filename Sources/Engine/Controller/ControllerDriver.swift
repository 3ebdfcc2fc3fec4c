import Base
package import Metadata
package import Model
import NIOCore
import Synchronization

/// Runs the controller's machine on the metadata log: decide, append, commit, publish, answer, in this order.
///
/// Requests come from any thread. Each is decided on the state with everything appended so far, so that requests need not wait
/// for each other's commit; nobody is told anything of it before it is committed. Events go out one at a time, in the log's order.
package final class ControllerDriver: Sendable {
  /// A decision that waits for its records, or for those before it, to be committed.
  private struct Pending: Sendable {
    /// Committed when everything below is.
    var endOffset: Offset
    /// Nil where the decision wrote nothing.
    var published: (image: MetadataImage, delta: MetadataDelta)?
    /// Nil: it was committed.
    var answer: @Sendable (ApiError?) -> Void
  }

  private struct State: Sendable {
    /// With everything that was appended.
    var machine: ControllerMachine
    /// The image with everything that was committed and published.
    var published: MetadataImage
    var pending: [Pending] = []
    /// Once the log has failed nothing more is decided: what it holds is not known until it is read again.
    var failure: ApiError?
  }

  private let log: any MetadataLogPort
  private let listener: any MetadataListener
  private let state: Mutex<State>

  /// Loads the log behind `initial` and takes over as the active controller. Blocks.
  ///
  /// - Parameters:
  ///   - initial: the image to begin with: empty, or a snapshot's; the log is replayed from the offset after its own.
  ///   - seed: of the random choices (topic ids, placement).
  /// - Throws: if a record cannot be understood or does not fit, naming its offset. Going on without it would be wrong.
  package init(
    log: any MetadataLogPort, initial: MetadataImage, settings: ControllerSettings, seed: UInt64, listener: any MetadataListener
  ) throws(ControllerLoadError) {
    var machine = ControllerMachine(image: initial, settings: settings, seed: seed)
    var recordCount = 0
    do throws(MetadataLogReadError<ControllerLoadError>) {
      try log.read(from: initial.offset + 1) { (offset, value) throws(ControllerLoadError) in
        // Nobody asks what changed since the log began.
        var delta = MetadataDelta()
        let change: MetadataChange
        do throws(MetadataRecordError) { change = try MetadataChange(decoding: value) } catch { throw .record(at: offset, error) }
        do throws(ReplayError) { try machine.replay(change, at: offset, into: &delta) } catch { throw .replay(at: offset, error) }
        recordCount += 1
      }
    } catch {
      switch error {
      case .log(let error): throw .log(error)
      case .reader(let error): throw error
      }
    }
    let image = machine.image
    if let level = image.featureLevel(MetadataVersion.feature), !MetadataVersion.supported.versions.contains(level) {
      throw .metadataVersion(level)
    }
    self.log = log
    self.listener = listener
    self.state = Mutex(State(machine: machine, published: image))
    listener.controllerEvent(.loaded(recordCount: recordCount, image: image))
    listener.metadataChanged(image, MetadataDelta(everythingIn: image))
    do throws(MetadataLogError) {
      try log.start { [weak self] event in self?.handle(event) }
      if image.featureLevel(MetadataVersion.feature) == nil { try self.bootstrap() }
    } catch { throw .log(error) }
  }

  /// The metadata as last committed.
  package var image: MetadataImage { self.state.withLock { $0.published } }

  /// Decides a request and carries it out. `completion` is called once, on this thread or the log's, when the outcome is
  /// committed and published, or was refused.
  package func submit<Request: ControllerRequest>(
    _ request: Request, completion: @escaping @Sendable (Result<Request.Response, ApiError>) -> Void
  ) {
    var appendError: MetadataLogError?
    let answerNow: (@Sendable () -> Void)? = self.state.withLock { state in
      if let failure = state.failure { return { completion(.failure(failure)) } }
      var pending: Pending
      do throws(ApiError) {
        let decision = try request.decide(on: state.machine, nextOffset: self.log.nextOffset)
        let response = decision.response
        pending = Pending(endOffset: self.log.nextOffset, published: nil) { error in
          completion(error.map { .failure($0) } ?? .success(response))
        }
        for (number, batch) in decision.batches.enumerated() {
          // Every batch but the last is published on its own: nobody waits for it alone.
          if number > 0 { state.pending.append(Pending(endOffset: pending.endOffset, published: pending.published, answer: { _ in })) }
          do throws(MetadataLogError) { try self.append(batch, &state, &pending) } catch {
            appendError = error
            throw ApiError(error.code, "The change could not be written\(number > 0 ? " to its end" : ""): \(error.reason)")
          }
        }
      } catch {
        // A refusal may rest on what is not committed yet, so that it waits with the others.
        pending = Pending(endOffset: self.log.nextOffset, published: nil) { failure in completion(.failure(failure ?? error)) }
      }
      if pending.published == nil && state.pending.isEmpty {
        let answer = pending.answer
        return { answer(nil) }
      }
      state.pending.append(pending)
      return nil
    }
    if let appendError { self.listener.controllerEvent(.appendFailed(appendError)) }
    answerNow?()
  }

  /// Commits what is under way and closes the log; requests that come later are refused. `completion` is called on the log's thread.
  package func close(_ completion: @escaping @Sendable (MetadataLogError?) -> Void) {
    self.state.withLock { $0.failure = $0.failure ?? ApiError(.notController, "The controller is shutting down.") }
    self.log.close(completion)
  }

  // MARK: Parts

  private func bootstrap() throws(MetadataLogError) {
    try self.state.withLock { state throws(MetadataLogError) in
      var pending = Pending(endOffset: .zero, published: nil, answer: { _ in })
      try self.append(ControllerMachine.bootstrapRecords(minInSyncReplicas: state.machine.settings.minInSyncReplicas), &state, &pending)
      state.pending.append(pending)
    }
  }

  /// Appends and replays. If the append throws, the state is as before.
  private func append(_ records: [MetadataChange], _ state: inout State, _ pending: inout Pending) throws(MetadataLogError) {
    let first = self.log.nextOffset
    try self.log.append(records.map(\.encoded))
    var delta = MetadataDelta()
    for (index, record) in records.enumerated() {
      do throws(ReplayError) { try state.machine.replay(record, at: first + Int64(index), into: &delta) } catch {
        // Decided on this very state: it is our own mistake, and the log has it already.
        fatalError("invariant broken: a decided record does not fit: \(error)")
      }
    }
    pending.endOffset = first + Int64(records.count)
    invariant(self.log.nextOffset == pending.endOffset, "the log ends at \(self.log.nextOffset), not at \(pending.endOffset)")
    pending.published = (state.machine.image, delta)
  }

  private func handle(_ event: MetadataLogEvent) {
    switch event {
    case .committed(let upTo): self.publish(upTo: upTo)
    case .delayed(let error): self.listener.controllerEvent(.commitDelayed(error))
    case .failed(let error):
      self.listener.controllerEvent(.logFailed(error))
      let failure = ApiError(error.code, "The metadata log has failed and the node must be restarted: \(error.reason)")
      let dropped = self.state.withLock { state in
        state.failure = state.failure ?? failure
        let dropped = state.pending
        state.pending = []
        return dropped
      }
      for pending in dropped { pending.answer(failure) }
    }
  }

  private func publish(upTo offset: Offset) {
    while true {
      // An entry stays in front of the queue until it is done, so that no later answer overtakes it.
      let next: Pending? = self.state.withLock { state in
        guard let next = state.pending.first, next.endOffset <= offset else { return nil }
        if let (image, _) = next.published { state.published = image }
        return next
      }
      guard let next else { return }
      if let (image, delta) = next.published { self.listener.metadataChanged(image, delta) }
      next.answer(nil)
      self.state.withLock { state in
        // A failure of the log may have emptied the queue meanwhile.
        if !state.pending.isEmpty { state.pending.removeFirst() }
      }
    }
  }
}
