import Base
import Environment
import Metadata
import Model
import Replication
import Synchronization
import Wire

/// The fetch sessions of followers, one for each of their connections.
final class FollowerSessions<Env: Environment>: Sendable {
  private struct State {
    var sessions: [UInt64: FollowerSession<Env>] = [:]
    var lastID: Int32 = 0
  }
  private let state = Mutex(State())

  var count: Int { self.state.withLock { $0.sessions.count } }

  func session(connectionID: UInt64) -> FollowerSession<Env>? { self.state.withLock { $0.sessions[connectionID] } }

  /// An id for a new session: another than any of late.
  func newID() -> Int32 {
    self.state.withLock { state in
      state.lastID = state.lastID == .max ? 1 : state.lastID + 1
      return state.lastID
    }
  }

  /// Puts `session` in the place of the connection's; returns the one that was there.
  func replace(_ session: FollowerSession<Env>?, connectionID: UInt64) -> FollowerSession<Env>? {
    self.state.withLock { state in
      defer { state.sessions[connectionID] = session }
      return state.sessions[connectionID]
    }
  }
}

// Fetch as a follower (KIP-101, KIP-227, KIP-279, KIP-903): up to the log's end, and the leader counts what is asked for as held.
extension Broker {
  func handleFollowerFetch(_ exchange: Exchange<Env.Disk.File>, _ request: FetchRequest, from replica: FetchingReplica) {
    let usesTopicIDs = exchange.version >= 13
    let connectionID = exchange.client.connectionID
    let maxBytes = max(0, min(Int(request.maxBytes), self.config.fetchBytesMax))
    let limits = FetchLimits(
      minBytes: min(Int(request.minBytes), maxBytes), maxBytes: maxBytes,
      maxWait: self.isShuttingDown ? .zero : .milliseconds(Int64(request.maxWaitMs)), isReadCommitted: false)
    let interests = Self.interests(of: request, usesTopicIDs: usesTopicIDs)
    let forgotten = Self.forgotten(of: request, usesTopicIDs: usesTopicIDs)
    let isFull = request.sessionEpoch == 0
    if request.sessionEpoch > 0 {
      guard let session = self.followerSessions.session(connectionID: connectionID), session.id == request.sessionId, session.id != 0 else {
        return exchange.respond(FetchResponse(errorCode: .fetchSessionIdNotFound))
      }
      if let refusal = session.refusal(ofEpoch: request.sessionEpoch, from: replica) {
        return exchange.respond(FetchResponse(errorCode: refusal))
      }
      return session.serve(exchange, interests, forgotten: forgotten, limits, isFull: false)
    }
    let session = FollowerSession(broker: self, id: isFull ? self.followerSessions.newID() : 0, replica: replica)
    self.followerSessions.replace(session, connectionID: connectionID)?.end(answers: true)
    session.serve(exchange, interests, forgotten: [], limits, isFull: isFull)
  }

  func endFollowerSession(connectionID: UInt64) {
    self.followerSessions.replace(nil, connectionID: connectionID)?.end(answers: false)
  }
}
