import Base
import Election
import Model
import Raft

/// A process and its disk.
struct SimNode {
  struct Inbound {
    var from: Int
    var incarnation: Int
    var call: CallID
    var request: RaftRequest
  }
  enum Message {
    case request(CallID, RaftRequest)
    case answer(CallID, IncomingAnswer)
  }
  struct Packet {
    var from: Int
    var to: Int
    /// Of the sender of a request, to whom the answer goes: a connection does not survive its process.
    var incarnation: Int
    var message: Message
  }
  struct Held {
    var after: PersistToken
    var packet: Packet
    /// For the checkers: whom the message gives a vote.
    var vote: ReplicaKey?
  }

  var config: RaftConfig
  /// The voters the node was formatted or configured with.
  var firstVoters: VoterSet
  var version: KRaftVersion
  var disk = SimDisk()

  // What is lost with the process.
  var machine: RaftMachine
  var isUp = true
  var incarnation = 0
  /// The log with what is not on disk yet.
  var log = SimLog()
  var applied = LogIndex.zero
  var digest: UInt64 = 0
  var durableToken = PersistToken.none
  var held: [Held] = []
  var inbound: [RequestID: Inbound] = [:]
  var nextRequest: UInt64 = 0
  var downloaded: (id: LogEnd, byteCount: Int64)?
  var timerNumber = 0
  /// When the next timer event comes.
  var timerAt = Instant.distantFuture

  // What happens to it.
  var pausedUntil = Instant.origin
  var clockLead = Duration.zero
  var slowDiskUntil = Instant.origin

  // What the checkers remember of it.
  var heardLeaderAt: Instant?
  var heardLeaderIn = Term.zero
  var leaderEndedIn = Term.zero
  var leadsSince = Instant.origin
  var fetchesHeard: [ReplicaKey: Instant] = [:]

  var key: ReplicaKey { self.config.local }
  var id: NodeID { self.key.node }
}
