import Base
import Raft

/// What one run is like, drawn from its seed: how large the quorum is, and which troubles it has. In the manner of swarm testing most
/// runs lack some troubles altogether, so that no trouble hides behind another.
struct SimPlan: CustomStringConvertible {
  /// What a run is to try hardest.
  enum Focus {
    case everything
    /// Leaders that are deposed without noticing, and many who read from them.
    case reads
    /// Leaders that die as soon as they lead.
    case elections
  }

  var voterCount: Int
  var observerCount: Int
  /// Controllers that are no voters at first.
  var spareCount: Int
  var isDynamic: Bool
  var joinsAutomatically: Bool

  var faultTime: Duration
  var delayMax: Duration
  var lossPercent = 0
  var duplicatePercent = 0
  /// Percent of messages that are late by up to a second.
  var latePercent = 0
  var liesPercent = 0
  var partitionsPerSecond = 0.0
  var crashesPerSecond = 0.0
  var pausesPerSecond = 0.0
  var clockJumpsPerSecond = 0.0
  var slowDisksPerSecond = 0.0
  var shutDownsPerSecond = 0.0
  var snapshotsPerSecond = 0.0
  var voterChangesPerSecond = 0.0
  var slowLinksPerSecond = 0.0
  /// Leaders that nobody hears any more and that hear everybody late: they lead on for a while on old news.
  var deposedLeadersPerSecond = 0.0
  // Crashes and cuts at the moments that matter, which would be rare by chance.
  var crashAfterVotePercent = 0
  var crashAfterElectionPercent = 0
  var cutAfterVoterChangePercent = 0
  var losesADisk = false
  var proposalsPerSecond = 25.0
  var readsPerSecond = 12.0
  var diskDelay: Duration
  var batchMax: Int

  init(seed: UInt64, focus: Focus = .everything) {
    var generator = SeededGenerator(seed: seed)
    func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &generator) < percent }
    func rate(_ percent: Int, _ max: Double) -> Double { chance(percent) ? Double.random(in: max / 10...max, using: &generator) : 0 }
    self.isDynamic = chance(65)
    self.voterCount = [1, 2, 3, 3, 3, 3, 4, 5, 5][Int.random(in: 0..<9, using: &generator)]
    self.observerCount = Int.random(in: 0...2, using: &generator)
    self.spareCount = self.isDynamic ? Int.random(in: 0...2, using: &generator) : 0
    self.joinsAutomatically = chance(30)
    self.faultTime = .milliseconds(Int.random(in: 1500...6000, using: &generator))
    self.delayMax = .microseconds([500, 2000, 10_000, 40_000][Int.random(in: 0..<4, using: &generator)])
    if chance(50) { self.lossPercent = Int.random(in: 1...20, using: &generator) }
    if chance(40) { self.duplicatePercent = Int.random(in: 1...20, using: &generator) }
    if chance(40) { self.latePercent = Int.random(in: 1...10, using: &generator) }
    if chance(20) { self.liesPercent = Int.random(in: 1...5, using: &generator) }
    self.partitionsPerSecond = rate(55, 1.5)
    self.crashesPerSecond = rate(60, 1.5)
    self.pausesPerSecond = rate(30, 1.0)
    self.clockJumpsPerSecond = rate(20, 0.5)
    self.slowDisksPerSecond = rate(40, 0.7)
    self.shutDownsPerSecond = rate(25, 0.3)
    self.snapshotsPerSecond = rate(50, 4.0)
    if self.isDynamic { self.voterChangesPerSecond = rate(75, 4.0) }
    self.slowLinksPerSecond = rate(30, 3.0)
    if chance(30) { self.crashAfterVotePercent = Int.random(in: 5...50, using: &generator) }
    if chance(30) { self.crashAfterElectionPercent = Int.random(in: 5...60, using: &generator) }
    if self.isDynamic, chance(40) { self.cutAfterVoterChangePercent = Int.random(in: 10...60, using: &generator) }
    self.losesADisk = self.isDynamic && self.voterCount >= 3 && chance(30)
    self.diskDelay = .microseconds([50, 500, 5000, 20_000][Int.random(in: 0..<4, using: &generator)])
    self.batchMax = Int.random(in: 1...12, using: &generator)
    switch focus {
    case .everything: break
    case .reads: self.focusOnReads(using: &generator)
    case .elections: self.focusOnElections(using: &generator)
    }
  }

  private mutating func focusOnReads(using generator: inout SeededGenerator) {
    (self.voterCount, self.observerCount, self.spareCount, self.isDynamic) = (3, 0, 0, false)
    (self.voterChangesPerSecond, self.shutDownsPerSecond, self.crashesPerSecond, self.losesADisk) = (0, 0, 0, false)
    (self.cutAfterVoterChangePercent, self.snapshotsPerSecond) = (0, 0)
    self.readsPerSecond = 200
    self.deposedLeadersPerSecond = Double.random(in: 0.3...1.5, using: &generator)
    // Other troubles are few, so that there is a leader to be deposed.
    let others = Bool.random(using: &generator) ? 0.0 : 1.0
    self.slowLinksPerSecond = Double.random(in: 0...2, using: &generator) * others
    self.partitionsPerSecond = Double.random(in: 0...1, using: &generator) * others
    self.clockJumpsPerSecond = Double.random(in: 0...1, using: &generator) * others
    self.pausesPerSecond *= others
    self.slowDisksPerSecond *= others
    (self.lossPercent, self.latePercent, self.crashAfterElectionPercent, self.crashAfterVotePercent) = (0, 0, 0, 0)
    self.delayMax = .microseconds(500)
    self.diskDelay = .microseconds(50)
  }

  private mutating func focusOnElections(using generator: inout SeededGenerator) {
    (self.voterCount, self.observerCount, self.spareCount, self.isDynamic) = (Bool.random(using: &generator) ? 3 : 5, 0, 0, false)
    (self.voterChangesPerSecond, self.cutAfterVoterChangePercent, self.losesADisk) = (0, 0, false)
    self.crashAfterElectionPercent = Int.random(in: 40...90, using: &generator)
    self.crashAfterVotePercent = Int.random(in: 0...20, using: &generator)
    self.partitionsPerSecond = Double.random(in: 0...3, using: &generator)
    self.crashesPerSecond = Double.random(in: 0...3, using: &generator)
    self.proposalsPerSecond = 200
    self.batchMax = 2
  }

  var description: String {
    """
    \(self.voterCount) voters (\(self.isDynamic ? "dynamic" : "static")), \(self.spareCount) spare controllers\
    \(self.joinsAutomatically ? " that join" : ""), \(self.observerCount) observers; faults for \(self.faultTime): \
    delay \(self.delayMax), loss \(self.lossPercent)%, duplicates \(self.duplicatePercent)%, late \(self.latePercent)%, \
    lies \(self.liesPercent)%, disk \(self.diskDelay)\(self.losesADisk ? ", one disk lost" : ""); per second: \
    partitions \(self.partitionsPerSecond), crashes \(self.crashesPerSecond), pauses \(self.pausesPerSecond), \
    clock jumps \(self.clockJumpsPerSecond), slow disks \(self.slowDisksPerSecond), shut downs \(self.shutDownsPerSecond), \
    snapshots \(self.snapshotsPerSecond), voter changes \(self.voterChangesPerSecond), \
    slow links \(self.slowLinksPerSecond); crashes after a vote \(self.crashAfterVotePercent)%, after an election \
    \(self.crashAfterElectionPercent)%, cuts after a voter change \(self.cutAfterVoterChangePercent)%
    """
  }
}
