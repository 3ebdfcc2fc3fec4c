import Environment
package import Model
import NIOCore
import Raft
import Synchronization
package import Wire

// Requests of other replicas and of tools to this one. `answer` is called exactly once, on some thread.
extension RaftDriver {
  package func serve(_ request: Wire.VoteRequest, _ answer: @escaping @Sendable (VoteResponse) -> Void) {
    do throws(QuorumMessageError) {
      self.receive(.vote(try request.decoded())) { reply, _ in answer(VoteResponse(reply)) }
    } catch { answer(VoteResponse(errorCode: .invalidRequest)) }
  }

  package func serve(_ request: BeginQuorumEpochRequest, _ answer: @escaping @Sendable (BeginQuorumEpochResponse) -> Void) {
    do throws(QuorumMessageError) {
      self.receive(.beginQuorum(try request.decoded())) { reply, _ in answer(BeginQuorumEpochResponse(reply)) }
    } catch { answer(BeginQuorumEpochResponse(errorCode: .invalidRequest)) }
  }

  package func serve(_ request: EndQuorumEpochRequest, _ answer: @escaping @Sendable (EndQuorumEpochResponse) -> Void) {
    do throws(QuorumMessageError) {
      self.receive(.endQuorum(try request.decoded())) { reply, _ in answer(EndQuorumEpochResponse(reply)) }
    } catch { answer(EndQuorumEpochResponse(errorCode: .invalidRequest)) }
  }

  /// A fetch of the metadata log (`concernsMetadataLog`).
  package func serve(_ request: Wire.FetchRequest, version: Int16, _ answer: @escaping @Sendable (FetchResponse) -> Void) {
    do throws(QuorumMessageError) {
      self.receive(.fetch(try request.decoded(version: version))) { reply, bytes in answer(FetchResponse(reply, records: bytes)) }
    } catch { answer(FetchResponse(errorCode: .invalidRequest)) }
  }

  package func serve(_ request: Wire.FetchSnapshotRequest, _ answer: @escaping @Sendable (FetchSnapshotResponse) -> Void) {
    do throws(QuorumMessageError) {
      self.receive(.fetchSnapshot(try request.decoded())) { reply, bytes in answer(FetchSnapshotResponse(reply, bytes: bytes)) }
    } catch { answer(FetchSnapshotResponse(errorCode: .invalidRequest)) }
  }

  package func serve(_ request: AddRaftVoterRequest, _ answer: @escaping @Sendable (AddRaftVoterResponse) -> Void) {
    self.receive(.addVoter(request.decoded)) { reply, _ in answer(AddRaftVoterResponse(reply)) }
  }

  package func serve(_ request: RemoveRaftVoterRequest, _ answer: @escaping @Sendable (RemoveRaftVoterResponse) -> Void) {
    self.receive(.removeVoter(request.decoded)) { reply, _ in answer(RemoveRaftVoterResponse(reply)) }
  }

  package func serve(_ request: UpdateRaftVoterRequest, _ answer: @escaping @Sendable (UpdateRaftVoterResponse) -> Void) {
    self.receive(.updateVoter(request.decoded)) { reply, _ in answer(UpdateRaftVoterResponse(reply)) }
  }

  /// Raises `kraft.version` where this replica leads the quorum.
  ///
  /// - Parameter done: called once, with nil when it is committed or was so already, else with why it is not.
  package func raiseVersion(to version: KRaftVersion, _ done: @escaping @Sendable (ApiError?) -> Void) {
    self.receive({ .raiseVersion($0, version) }) { reply, _ in
      let what = "kraft.version cannot be raised to \(version) now:"
      switch reply.status.error {
      case .none: done(nil)
      case .notLeaderOrFollower: done(ApiError(.notController, "This node is not the active controller any more."))
      case .invalidUpdateVersion:
        done(ApiError(.invalidUpdateVersion, "\(what) a voter does not support it, or has not been heard of since there is this leader."))
      case .requestTimedOut:
        done(
          ApiError(.requestTimedOut, "\(what) a voter does not answer, another change of the quorum is under way, or it has just begun."))
      case let other: done(ApiError(other, "\(what) \(other)."))
      }
    }
  }

  private func receive(_ request: RaftRequest, _ answer: @escaping @Sendable (OutgoingAnswer, ByteBuffer?) -> Void) {
    self.receive({ .request($0, request) }, answer)
  }

  private func receive(
    _ input: @escaping @Sendable (RequestID) -> RaftInput, _ answer: @escaping @Sendable (OutgoingAnswer, ByteBuffer?) -> Void
  ) {
    self.work.add {
      let id: RequestID? = self.state.withLock { state in
        if state.hasFailed || state.isClosed { return nil }
        let id = RequestID(rawValue: state.nextRequest)
        state.nextRequest += 1
        state.requests[id] = answer
        return id
      }
      // Whoever asks a replica that has stopped must not wait for it.
      guard let id else { return answer(OutgoingAnswer(QuorumStatus(error: .kafkaStorageError, term: .zero)), nil) }
      self.runStep(input(id))
    }
  }
}
