import Environment
import Model
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

  private func receive(_ request: RaftRequest, _ answer: @escaping @Sendable (OutgoingAnswer, ByteBuffer?) -> Void) {
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
      self.runStep(.request(id, request))
    }
  }
}
