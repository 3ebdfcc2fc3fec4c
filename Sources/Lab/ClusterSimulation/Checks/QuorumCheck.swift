import Base
import Broker
import Controller
import Environment
import Model
import Raft
import Synchronization
import VirtualWorld

/// Raft's five safety properties (Ongaro and Ousterhout 2014, figure 3), as the nodes' replicas and disks show them from outside.
final class QuorumCheck: Sendable {
  private struct Seen: Sendable {
    var life: Int
    var highWatermark = Offset.zero
    /// Everything below was held against `committed` in this life.
    var checkedUpTo = Offset.zero
    /// While this node leads: in which term, and where its log ended when it was last looked at.
    var leading: (term: Int32, end: Offset)?
  }
  private struct State: Sendable {
    var leaders: [Int32: NodeID] = [:]
    /// By base offset.
    var committed: [Offset: DiskLog.Batch] = [:]
    var committedEnd = Offset.zero
    /// Of the newest entry that is known to be committed.
    var committedTerm: Int32 = 0
    var seen: [NodeID: Seen] = [:]
  }

  private static let partition = TopicPartition("__cluster_metadata", PartitionID(0))
  private let board: Board
  private let state = Mutex(State())

  init(board: Board) { self.board = board }

  /// A node says that it, or another one, leads the quorum.
  func leads(_ node: NodeID, in term: Int32) {
    let other: NodeID? = self.state.withLock { state in
      defer { state.leaders[term] = state.leaders[term] ?? node }
      return state.leaders[term].flatMap { $0 == node ? nil : $0 }
    }
    if let other { self.board.violate(.electionSafety, "term \(term) is led by node \(node) and by node \(other)") }
  }

  /// Looks at every node that runs.
  func look(at nodes: [SimNode]) {
    var logs: [(node: SimNode, machine: RaftMachine, log: DiskLog)] = []
    for node in nodes {
      guard let life = node.life, let broker = life.broker else { continue }
      let machine = broker.controller.quorum.machine
      if machine.role == .leader { self.leads(node.id, in: machine.term.rawValue) }
      let log = DiskLog(Self.partition, on: node.disk, durable: false)
      logs.append((node, machine, log))
      self.check(node, life.number, machine, log)
    }
    for (index, first) in logs.enumerated() {
      for second in logs[(index + 1)...] { self.compare(first.node, first.log, second.node, second.log) }
    }
    let newest = logs.filter { $0.machine.role == .leader }.max { $0.machine.term.rawValue < $1.machine.term.rawValue }
    if let newest { self.checkCompleteness(newest.node, newest.machine, newest.log) }
  }

  // MARK: - One node

  private func check(_ node: SimNode, _ life: Int, _ machine: RaftMachine, _ log: DiskLog) {
    let highWatermark = Offset(machine.highWatermark.rawValue)
    let problem = self.state.withLock { state -> (Violation.Property, String)? in
      var seen = state.seen[node.id].flatMap { $0.life == life ? $0 : nil } ?? Seen(life: life)
      defer { state.seen[node.id] = seen }
      if highWatermark < seen.highWatermark {
        return (.stateMachineSafety, "node \(node.id) knew of commitment up to \(seen.highWatermark), now only up to \(highWatermark)")
      }
      seen.highWatermark = highWatermark
      if machine.role == .leader {
        if let before = seen.leading, before.term == machine.term.rawValue, log.endOffset < before.end {
          return (
            .leaderAppendOnly, "node \(node.id), leader of term \(before.term), has cut its log from \(before.end) to \(log.endOffset)"
          )
        }
        seen.leading = (machine.term.rawValue, log.endOffset)
      } else {
        seen.leading = nil
      }
      for batch in log.batches where batch.baseOffset >= seen.checkedUpTo && batch.nextOffset <= highWatermark {
        if let known = state.committed[batch.baseOffset] {
          if known != batch {
            return (
              .stateMachineSafety,
              "at offset \(batch.baseOffset) node \(node.id) has committed a batch of term \(batch.epoch), another one of \(known.epoch)"
            )
          }
        } else {
          state.committed[batch.baseOffset] = batch
          state.committedEnd = max(state.committedEnd, batch.nextOffset)
          state.committedTerm = max(state.committedTerm, batch.epoch.rawValue)
        }
        seen.checkedUpTo = batch.nextOffset
      }
      return nil
    }
    if let problem { self.board.violate(problem.0, problem.1) }
  }

  /// Who leads in the newest term has everything that was committed before.
  private func checkCompleteness(_ node: SimNode, _ machine: RaftMachine, _ log: DiskLog) {
    let (end, term) = self.state.withLock { ($0.committedEnd, $0.committedTerm) }
    guard term <= machine.term.rawValue else { return }
    let snapshotEnd = machine.log.latestSnapshot.map { Offset($0.id.index.rawValue) } ?? .zero
    if max(log.endOffset, snapshotEnd) < end {
      self.board.violate(
        .leaderCompleteness, "node \(node.id) leads in term \(machine.term) with a log up to \(log.endOffset); committed is up to \(end)")
    }
  }

  // MARK: - Two nodes

  /// Where two logs have an entry of the same offset and term, they are the same up to there.
  private func compare(_ first: SimNode, _ firstLog: DiskLog, _ second: SimNode, _ secondLog: DiskLog) {
    var (i, j) = (firstLog.batches.count - 1, secondLog.batches.count - 1)
    var match: Offset?
    while i >= 0, j >= 0 {
      let (a, b) = (firstLog.batches[i], secondLog.batches[j])
      if a.baseOffset > b.baseOffset {
        i -= 1
      } else if a.baseOffset < b.baseOffset {
        j -= 1
      } else {
        if match == nil, a.epoch == b.epoch { match = a.baseOffset }
        if let match, a != b {
          return self.board.violate(
            .logMatching,
            "nodes \(first.id) and \(second.id) agree at offset \(match), term \(a.epoch) there, and differ at \(a.baseOffset)")
        }
        (i, j) = (i - 1, j - 1)
      }
    }
  }
}
