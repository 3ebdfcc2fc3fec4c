import Model
import NIOCore
import Wire

/// The value of the control record by which a quorum of one says who leads (KIP-595, `LeaderChangeMessage`).
func leaderChangeRecord(leader: NodeID) -> ByteBuffer {
  let voter = LeaderChangeMessage.Voter(voterId: leader.rawValue)
  let message = LeaderChangeMessage(version: 0, leaderId: leader.rawValue, voters: [voter], grantingVoters: [voter])
  var writer = WireWriter()
  message.encode(into: &writer, version: 0)
  return writer.buffer
}
