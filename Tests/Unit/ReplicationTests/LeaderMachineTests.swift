import Base
import Model
import Replication
import Testing

private typealias Machine = LeaderMachine<Int>

/// A leader that is its partition's only replica.
private func leader(
  _ durability: FlushPolicy.Durability, start: Int64 = 0, end: Int64 = 0, flushed: Int64 = 0, watermark: Int64 = 0,
  unflushedMax: Int64 = .max
) -> Machine {
  var machine = Machine(
    node: NodeID(1), registration: alone(epoch: 3),
    settings: LeaderSettings(flushPolicy: FlushPolicy(durability: durability, unflushedRecordsMax: unflushedMax)),
    log: LogPositions(
      logStartOffset: Offset(start), logEndOffset: Offset(end), flushedOffset: Offset(flushed), highWatermark: Offset(watermark)),
    now: .origin)
  var effects: [Machine.Effect] = []
  machine.handle(.began, now: .origin, lease: .unlimited, into: &effects)
  if effects.contains(.requestFlush) { machine.handle(.flushBegan, now: .origin, lease: .unlimited, into: &effects) }
  return machine
}

private func alone(epoch: Int32) -> PartitionRegistration {
  PartitionRegistration(
    leader: NodeID(1), leaderEpoch: LeaderEpoch(epoch), partitionEpoch: PartitionEpoch(epoch), assignedReplicas: [NodeID(1)],
    inSyncReplicas: [NodeID(1)])
}

extension Machine {
  /// What the inputs bring about, without what is only told.
  fileprivate mutating func effects(of inputs: Input...) -> [Effect] {
    var effects: [Effect] = []
    for input in inputs { self.handle(input, now: .origin, lease: .unlimited, into: &effects) }
    return effects.filter { if case .trace = $0 { false } else { true } }
  }
}

@Suite("The leader of a partition")
struct LeaderMachineTests {
  @Test("With flush.policy=os an append is committed at once and no flush is asked for")
  func written() {
    var machine = leader(.written)
    #expect(machine.effects(of: .appended(endOffset: Offset(5))) == [.highWatermarkAdvanced(to: Offset(5))])
    #expect(machine.effects(of: .awaitCommit(1, requiredOffset: Offset(5))) == [.acknowledge(1)])
    #expect(machine.highWatermark == Offset(5))
    #expect(machine.flushedOffset == .zero)
  }

  @Test("With flush.policy=fsync an append is committed by the flush, and one flush is asked for until it begins")
  func flushed() {
    var machine = leader(.flushed)
    #expect(machine.effects(of: .appended(endOffset: Offset(5))) == [.requestFlush])
    #expect(
      machine.effects(
        of: .appended(endOffset: Offset(7)), .awaitCommit(1, requiredOffset: Offset(5)), .awaitCommit(2, requiredOffset: Offset(7))) == []
    )
    #expect(machine.highWatermark == .zero)
    #expect(machine.effects(of: .flushBegan, .appended(endOffset: Offset(9))) == [.requestFlush])
    #expect(machine.effects(of: .awaitCommit(3, requiredOffset: Offset(9))) == [])
    #expect(machine.effects(of: .flushed(upTo: Offset(7))) == [.highWatermarkAdvanced(to: Offset(7)), .acknowledge(1), .acknowledge(2)])
    #expect(machine.effects(of: .flushBegan, .flushed(upTo: Offset(9))) == [.highWatermarkAdvanced(to: Offset(9)), .acknowledge(3)])
    #expect(machine.waitingCount == 0)
  }

  @Test("A flush that ends after a later one changes nothing")
  func lateFlush() {
    var machine = leader(.flushed)
    _ = machine.effects(of: .appended(endOffset: Offset(9)), .flushBegan, .flushed(upTo: Offset(9)))
    #expect(machine.effects(of: .flushed(upTo: Offset(4))) == [])
    #expect(machine.highWatermark == Offset(9))
  }

  @Test("flush.messages asks for a flush under flush.policy=os")
  func flushMessages() {
    var machine = leader(.written, unflushedMax: 10)
    #expect(machine.effects(of: .appended(endOffset: Offset(9))) == [.highWatermarkAdvanced(to: Offset(9))])
    #expect(machine.effects(of: .appended(endOffset: Offset(10))) == [.requestFlush, .highWatermarkAdvanced(to: Offset(10))])
    #expect(
      machine.effects(of: .flushBegan, .flushed(upTo: Offset(10)), .appended(endOffset: Offset(11))) == [
        .highWatermarkAdvanced(to: Offset(11))
      ])
  }

  @Test("A duplicate waits for the offset of its first copy, in its place among those that wait")
  func duplicateOrder() {
    var machine = leader(.flushed)
    _ = machine.effects(
      of: .appended(endOffset: Offset(10)), .awaitCommit(1, requiredOffset: Offset(4)), .awaitCommit(2, requiredOffset: Offset(10)),
      .awaitCommit(3, requiredOffset: Offset(4)))
    #expect(
      machine.effects(of: .flushBegan, .flushed(upTo: Offset(4))) == [
        .highWatermarkAdvanced(to: Offset(4)), .acknowledge(1), .acknowledge(3),
      ])
    #expect(machine.effects(of: .cancelCommit(2), .flushed(upTo: Offset(10))) == [.highWatermarkAdvanced(to: Offset(10))])
  }

  @Test("Fetches are woken by the watermark, each once, and only those that can read something")
  func fetches() {
    var machine = leader(.flushed, end: 10, flushed: 10, watermark: 10)
    #expect(
      machine.effects(of: .awaitFetch(1, from: Offset(10)), .awaitFetch(2, from: Offset(12)), .awaitFetch(3, from: Offset(10))) == [])
    #expect(machine.effects(of: .awaitFetch(4, from: Offset(9))) == [.wake(4)])
    #expect(machine.effects(of: .cancelFetch(1), .cancelFetch(99), .appended(endOffset: Offset(12)), .flushBegan) == [.requestFlush])
    #expect(machine.effects(of: .flushed(upTo: Offset(12))) == [.highWatermarkAdvanced(to: Offset(12)), .wake(3)])
    #expect(
      machine.effects(of: .appended(endOffset: Offset(13)), .flushed(upTo: Offset(13))) == [
        .requestFlush, .highWatermarkAdvanced(to: Offset(13)), .wake(2),
      ])
    #expect(machine.waitingCount == 0)
  }

  @Test("A fetch below a new log start is woken")
  func logStart() {
    var machine = leader(.written, end: 10, flushed: 10, watermark: 10)
    #expect(machine.effects(of: .awaitFetch(1, from: Offset(10)), .logStartAdvanced(to: Offset(10))) == [])
    #expect(machine.logStartOffset == Offset(10))
    #expect(machine.effects(of: .awaitFetch(2, from: Offset(3))) == [.wake(2)])
    #expect(machine.effects(of: .logStartAdvanced(to: Offset(5))) == [])
    #expect(machine.logStartOffset == Offset(10))
  }

  @Test("Resigning fails the produces, wakes the fetches, and refuses who comes later")
  func resigning() {
    var machine = leader(.flushed)
    _ = machine.effects(of: .appended(endOffset: Offset(5)), .awaitCommit(1, requiredOffset: Offset(5)), .awaitFetch(2, from: Offset(0)))
    #expect(machine.effects(of: .resigned(.kafkaStorageError)) == [.fail(1, .kafkaStorageError), .wake(2)])
    #expect(
      machine.effects(of: .awaitCommit(3, requiredOffset: Offset(5)), .awaitFetch(4, from: Offset(5))) == [
        .fail(3, .kafkaStorageError), .wake(4),
      ])
    #expect(machine.effects(of: .flushed(upTo: Offset(5))) == [])
  }

  @Test("A new epoch ends a resignation, but not that of a failed disk, and wakes who named the old one")
  func newEpoch() {
    var machine = leader(.written, end: 5, flushed: 5, watermark: 5)
    _ = machine.effects(of: .awaitFetch(1, from: Offset(5)), .appended(endOffset: Offset(5)))
    #expect(machine.effects(of: .registrationChanged(alone(epoch: 3))) == [])
    #expect(machine.effects(of: .registrationChanged(alone(epoch: 4))) == [.wake(1)])
    #expect(machine.epoch == LeaderEpoch(4))
    _ = machine.effects(of: .appended(endOffset: Offset(7)), .resigned(.notLeaderOrFollower))
    #expect(machine.effects(of: .awaitCommit(2, requiredOffset: Offset(9))) == [.fail(2, .notLeaderOrFollower)])
    #expect(machine.effects(of: .registrationChanged(alone(epoch: 6))) == [])
    #expect(machine.resignation == nil)
    #expect(machine.epochStartOffset == Offset(7))
    _ = machine.effects(of: .resigned(.kafkaStorageError), .registrationChanged(alone(epoch: 7)))
    #expect(machine.resignation == .kafkaStorageError)
    #expect(machine.epoch == LeaderEpoch(6))
  }

  @Test("The checkpointed watermark is kept within what the log holds")
  func startingWatermark() {
    #expect(leader(.flushed, start: 5, end: 20, flushed: 10, watermark: 15).highWatermark == Offset(15))
    #expect(leader(.flushed, start: 5, end: 20, flushed: 10, watermark: 99).highWatermark == Offset(20))
    #expect(leader(.flushed, start: 5, end: 20, flushed: 10, watermark: 0).highWatermark == Offset(10))
    #expect(leader(.flushed, start: 5, end: 20, flushed: 10, watermark: 15).isCatchingUp)
    #expect(!leader(.written, start: 5, end: 20, flushed: 0, watermark: 0).isCatchingUp)
  }

  @Test("What an earlier run left unflushed is flushed without waiting for an append")
  func begins() {
    var machine = leader(.flushed, end: 20, flushed: 10, watermark: 15)
    #expect(machine.effects(of: .began) == [.requestFlush])
    #expect(machine.effects(of: .flushBegan, .flushed(upTo: Offset(20))) == [.highWatermarkAdvanced(to: Offset(20))])
    var clean = leader(.flushed, end: 20, flushed: 20, watermark: 20)
    #expect(clean.effects(of: .began) == [])
  }

  @Test("A changed flush policy takes effect at once")
  func policyChange() {
    var machine = leader(.flushed)
    _ = machine.effects(of: .appended(endOffset: Offset(5)), .awaitCommit(1, requiredOffset: Offset(5)))
    #expect(
      machine.effects(of: .settingsChanged(LeaderSettings(flushPolicy: FlushPolicy(durability: .written)))) == [
        .highWatermarkAdvanced(to: Offset(5)), .acknowledge(1),
      ])
    _ = machine.effects(of: .flushBegan)
    #expect(machine.effects(of: .settingsChanged(LeaderSettings(flushPolicy: FlushPolicy(durability: .flushed)))) == [.requestFlush])
    #expect(machine.highWatermark == Offset(5))
  }

  @Test("acks=all needs as many in-sync replicas as the topic asks for")
  func minInSync() {
    let machine = leader(.flushed)
    #expect(machine.hasInSyncReplicas(1))
    #expect(!machine.hasInSyncReplicas(2))
  }
}
