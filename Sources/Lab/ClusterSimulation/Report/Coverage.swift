/// What a run has been through, counted: a simulation in which nothing happens proves nothing.
package struct Coverage: Sendable, Hashable {
  package enum Mark: Int, CaseIterable, Sendable {
    // What was done to the cluster.
    case kill, powerLoss, crashAtWrite, powerAtWrite, cleanStop, pause, fullDisk, slowDisk, diskError, isolation, cutWire, slowWire, reset
    case clockError, rollingRestart, bitFlip, reassignment, voterChange, topicCreated, topicDeleted, partitionsAdded, configAltered
    case preferredElection
    // What came of it.
    case start, failedStart, recovery, tornTail, lostSyncedData, quorumLeader, partitionLeader, fenced, inSyncShrank, inSyncGrew
    case uncleanLeader, truncation, snapshotLoaded, offlinePartition, quorumFailed, retried, restartedByOperator, leaseEnded, underMinInSync
    // What the clients saw.
    case sent, resent, acknowledged, acknowledgedByLeader, refused, disconnected, duplicateAnswer, staleAnswer, followedHint
    case read, readAgain, latestAsked, latestRefused, lostUnacknowledged, lostLeaderAcknowledged, keptTwice

    /// As reports show it: `crash-at-write`.
    package var name: String {
      "\(self)".reduce(into: "") { name, letter in
        if letter.isUppercase { name += "-" }
        name += letter.lowercased()
      }
    }
  }

  private var counts = [UInt64](repeating: 0, count: Mark.allCases.count)

  package init() {}

  package subscript(mark: Mark) -> UInt64 {
    get { self.counts[mark.rawValue] }
    set { self.counts[mark.rawValue] = newValue }
  }

  package mutating func add(_ other: Coverage) {
    for index in self.counts.indices { self.counts[index] += other.counts[index] }
  }

  /// Those that are not 0, in the order of their declaration.
  package var marks: [(mark: Mark, count: UInt64)] { Mark.allCases.compactMap { self[$0] > 0 ? ($0, self[$0]) : nil } }
}
