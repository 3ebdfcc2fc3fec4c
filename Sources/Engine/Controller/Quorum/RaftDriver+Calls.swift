import Base
import Environment
import Model
import NIOCore
import Peers
import Raft
import Synchronization
import Wire

// Requests of this replica to others, and what they answer.
extension RaftDriver {
  func call(_ peer: Peer<Env>, _ id: CallID, _ request: RaftRequest) {
    let timeout = self.config.requestTimeout
    switch request {
    case .vote(let vote):
      peer.call(Wire.VoteRequest(vote), timeout: timeout) {
        self.receive($0, id) { response, _ throws(QuorumMessageError) in try response.decoded() }
      }
    case .beginQuorum(let begin):
      peer.call(BeginQuorumEpochRequest(begin), timeout: timeout) {
        self.receive($0, id) { response, _ throws(QuorumMessageError) in try response.decoded() }
      }
    case .endQuorum(let end):
      peer.call(EndQuorumEpochRequest(end), timeout: timeout) {
        self.receive($0, id) { response, _ throws(QuorumMessageError) in try response.decoded() }
      }
    case .fetch(let fetch):
      // The leader may let it wait on top of the time that any answer may take.
      peer.call(Wire.FetchRequest(fetch), timeout: timeout + fetch.waitMax) {
        self.receive($0, id) { response, keep throws(QuorumMessageError) in try response.decoded { keep(.batches($0)) } }
      }
    case .fetchSnapshot(let fetch):
      peer.call(Wire.FetchSnapshotRequest(fetch), timeout: timeout) {
        self.receive($0, id) { response, keep throws(QuorumMessageError) in try response.decoded { keep(.chunk($0)) } }
      }
    case .addVoter(let add):
      let timeoutMs = Int32(clamping: timeout.wholeMilliseconds)
      peer.call(AddRaftVoterRequest(add, timeoutMs: timeoutMs), timeout: timeout) {
        self.receive($0, id) { response, _ throws(QuorumMessageError) in response.decoded }
      }
    case .removeVoter(let remove):
      peer.call(RemoveRaftVoterRequest(remove), timeout: timeout) {
        self.receive($0, id) { response, _ throws(QuorumMessageError) in response.decoded }
      }
    case .updateVoter(let update):
      peer.call(UpdateRaftVoterRequest(update), timeout: timeout) {
        self.receive($0, id) { response, _ throws(QuorumMessageError) in response.decoded }
      }
    case .versions:
      peer.call(ApiVersionsRequest(clientSoftwareName: "apus", clientSoftwareVersion: "0"), timeout: timeout) {
        self.receive($0, id) { response, _ throws(QuorumMessageError) in
          let range = response.supportedFeatures.first { $0.name == Self.versionFeature }
          let versions = SupportedVersions(KRaftVersion(range?.minVersion ?? 0), KRaftVersion(range?.maxVersion ?? 0))
          return IncomingAnswer(QuorumStatus(error: response.errorCode, term: .zero), .versions(versions))
        }
      }
    }
  }

  /// The feature whose levels say how voters are kept (KIP-853).
  package static var versionFeature: String { KRaftVersion.feature }

  private func receive<Response: Sendable>(
    _ result: Result<Response, PeerError>, _ id: CallID,
    _ decode: @escaping @Sendable (Response, (Payload) -> PayloadID) throws(QuorumMessageError) -> IncomingAnswer
  ) {
    self.work.add {
      let response: Response
      switch result {
      case .success(let answer): response = answer
      case .failure(let error): return self.runStep(.callFailed(id, CallFailure(error)))
      }
      let aftermath = self.state.withLock { state -> Aftermath in
        var aftermath: Aftermath = []
        let first = state.nextPayload
        do throws(QuorumMessageError) {
          let answer = try decode(response) { Self.keep($0, &state) }
          self.take(.answer(id, answer), &state, &aftermath)
        } catch {
          // As good as no answer: the next request may get a better one.
          self.take(.callFailed(id), &state, &aftermath)
        }
        // What the machine did not take up in this step it never will.
        for number in first..<state.nextPayload { state.payloads[PayloadID(rawValue: number)] = nil }
        return aftermath
      }
      for action in aftermath { action() }
    }
  }
}

extension CallFailure {
  init(_ error: PeerError) {
    switch error {
    case .disconnected(.refused): self = .refused
    case .disconnected(.closedByPeer): self = .broken
    case .disconnected, .timedOut, .unsupported, .refusedVersions, .malformed: self = .unanswered
    }
  }
}
