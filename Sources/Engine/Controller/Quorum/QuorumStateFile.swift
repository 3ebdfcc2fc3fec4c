import Environment
import JSON
import LogCore
import Model
import Raft
import Storage

/// Kafka's `quorum-state`: the hard state of Raft as one JSON object in the metadata log's directory.
///
/// Version 0 goes with `kraft.version` 0 and knows voters by their node alone; version 1 adds the directory that was voted for (KIP-853).
struct QuorumStateFile<Disk: DiskPort>: Sendable {
  static var name: String { LogFileName.quorumState }
  let disk: Disk
  /// The metadata log's directory.
  let directory: String
  /// False: a deliberate bug.
  var isSynced = true
  private var path: String { self.directory + "/" + Self.name }

  /// Nil if there is none: a node that never took part.
  func read() throws(MetadataLogError) -> HardState? {
    let text: String?
    do throws(DiskError) { text = try SmallFile.readText(self.path, on: self.disk) } catch { throw MetadataLogError("\(error)") }
    guard let text else { return nil }
    let json: JSONValue
    do throws(JSONParser.Failure) { json = try JSONParser.parse(text) } catch { throw self.malformed("\(error)") }
    return try self.state(in: json)
  }

  private func malformed(_ reason: String) -> MetadataLogError { MetadataLogError("\(self.path) is not what it should be: \(reason)") }

  private func state(in json: JSONValue) throws(MetadataLogError) -> HardState {
    func integer(_ name: String) throws(MetadataLogError) -> Int64 {
      guard case .integer(let value)? = json[name] else { throw self.malformed("'\(name)' is missing or no integer") }
      return value
    }
    let version = try integer("data_version")
    guard (0...1).contains(version) else { throw self.malformed("version \(version) is not known") }
    let (leader, epoch, voted) = (try integer("leaderId"), try integer("leaderEpoch"), try integer("votedId"))
    guard let term = Int32(exactly: epoch), term >= 0, let leader = Int32(exactly: leader), let voted = Int32(exactly: voted) else {
      throw self.malformed("a number is out of range")
    }
    var directory = KafkaUUID.zero
    if version >= 1 {
      guard case .string(let text)? = json["votedDirectoryId"], let id = KafkaUUID(text) else {
        throw self.malformed("'votedDirectoryId' is missing or no id")
      }
      directory = id
    }
    return HardState(
      term: Term(term), votedFor: voted < 0 ? nil : ReplicaKey(NodeID(voted), directory), leader: leader < 0 ? nil : NodeID(leader))
  }

  /// Replaces the file. Durable when it returns: blocks.
  func write(_ state: HardState, version: KRaftVersion) throws(DiskError) {
    var members: [(String, JSONValue)] = []
    if version < .dynamicVoters { members.append(("clusterId", "")) }
    members += [
      ("leaderId", .integer(Int64(state.leader?.rawValue ?? -1))), ("leaderEpoch", .integer(Int64(state.term.rawValue))),
      ("votedId", .integer(Int64(state.votedFor?.node.rawValue ?? -1))),
    ]
    if version < .dynamicVoters {
      members += [("appliedOffset", 0), ("currentVoters", .array([])), ("data_version", 0)]
    } else {
      members += [("votedDirectoryId", .string((state.votedFor?.directory ?? .zero).description)), ("data_version", 1)]
    }
    try SmallFile.replace(self.path, with: Array(JSONValue.object(members).text.utf8), on: self.disk, synced: self.isSynced)
    if self.isSynced { try self.disk.syncDirectory(self.directory) }
  }
}
