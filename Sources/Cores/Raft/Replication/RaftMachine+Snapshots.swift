import Base
import Election
import Model

// Snapshots: taken here, served to replicas that are too far behind, fetched from the leader in chunks (KIP-630).
extension RaftMachine {
  // MARK: Taken here

  mutating func addSnapshot(_ info: SnapshotInfo) {
    func refuse(_ why: SnapshotRefusal) { self.trace(.snapshotRefused(info.id, why)) }
    if info.id.index > self.highWatermark { return refuse(.notCommitted) }
    // A snapshot from the leader may have overtaken the application.
    if let latest = self.log.latestSnapshot, info.id.index <= latest.id.index { return refuse(.notNewer) }
    if info.id.index <= .zero || self.log.term(at: info.id.index - 1) != info.id.term { return refuse(.unknown) }
    self.log.add(info)
  }

  mutating func dropPrefix(to snapshot: LogEnd) {
    guard self.installing == nil, snapshot.index > self.log.startIndex, self.log.snapshots.contains(where: { $0.id == snapshot }) else {
      return self.trace(.snapshotRefused(snapshot, .unknown))
    }
    self.log.dropPrefix(to: snapshot)
    self.effects.append(.dropPrefix(to: snapshot))
  }

  // MARK: Served

  mutating func handleFetchSnapshot(_ fetch: FetchSnapshotRequest, _ request: RequestID) {
    func refuse(_ error: ErrorCode, _ why: RequestRefusal) { self.refuse(request, .fetchSnapshot, error, why) }
    if self.isForeign(fetch.clusterID) { return refuse(.inconsistentClusterId, .otherCluster) }
    if let (error, why) = self.leaderRefusal(fetch.term) { return refuse(error, why) }
    if fetch.replica.node == self.config.local.node { return refuse(.invalidRequest, .forged) }
    if fetch.bytesMax <= 0 { return refuse(.invalidRequest, .malformed) }
    guard let info = self.log.snapshots.first(where: { $0.id == fetch.snapshot }) else { return refuse(.snapshotNotFound, .noSuchSnapshot) }
    guard fetch.position >= 0, fetch.position < info.byteCount else { return refuse(.positionOutOfRange, .noSuchPosition) }
    // A voter that takes long over a snapshot is alive all the same.
    if fetch.replica.node != .none { self.note(fetch.replica, at: nil) }
    self.answer(request, .fetchSnapshot(ChunkRange(snapshot: info, position: fetch.position, bytesMax: fetch.bytesMax)))
  }

  // MARK: Fetched

  mutating func handleFetchSnapshotAnswer(_ answer: IncomingAnswer, _ call: PendingCall) {
    guard let download = self.following.download else { return }
    guard answer.status.error == .none else {
      self.handleFetchError(answer.status, call)
      if answer.status.error == .snapshotNotFound || answer.status.error == .positionOutOfRange {
        // The leader has a newer one by now; the next fetch tells which.
        self.following.download = nil
        self.abandon(download, .error(answer.status.error))
      }
      return
    }
    guard case .fetchSnapshot(let chunk) = answer.body, chunk.snapshot.id == download.id, chunk.position == download.position,
      chunk.byteCount > 0, download.byteCount ?? chunk.snapshot.byteCount == chunk.snapshot.byteCount,
      chunk.byteCount <= chunk.snapshot.byteCount - chunk.position
    else {
      self.following.download = nil
      self.abandon(download, .malformed)
      return self.fail(call)
    }
    self.hearLeader()
    self.following.call = nil
    self.following.askAt = self.now
    self.effects.append(.writeSnapshot(chunk))
    let position = chunk.position + chunk.byteCount
    if position < chunk.snapshot.byteCount {
      self.following.download = SnapshotDownload(id: download.id, byteCount: chunk.snapshot.byteCount, position: position)
    } else {
      self.following.download = nil
      let token = self.nextToken()
      self.installing = (token, chunk.snapshot)
      self.effects.append(.installSnapshot(chunk.snapshot, token))
    }
  }

  mutating func abandon(_ download: SnapshotDownload, _ why: AnswerRefusal) {
    self.trace(.snapshotDownloadAbandoned(download.id, why))
    self.effects.append(.discardSnapshot(download.id))
  }

  // MARK: Installed

  mutating func completeInstallation(_ token: PersistToken, _ summary: SnapshotSummary) {
    guard let installing = self.installing, installing.token == token else { return self.trace(.stalePersistToken) }
    invariant(summary.info == installing.info, "\(summary.info) was installed instead of \(installing.info)")
    self.installing = nil
    // All that was written before is gone.
    self.pendingWrites.removeAll()
    self.log.reset(to: summary)
    self.trace(.votersChanged(self.log.voters, index: self.log.voterHistory.latestIndex))
    self.effects.append(.loadSnapshot(summary.info.id))
    self.moveHighWatermark(to: summary.info.id.index)
  }

  mutating func abandonInstallation(_ token: PersistToken) {
    guard let installing = self.installing, installing.token == token else { return self.trace(.stalePersistToken) }
    self.installing = nil
    self.trace(.snapshotDownloadAbandoned(installing.info.id, .unusable))
    if self.role == .follower { self.following.askAt = self.now + self.config.retryBackoff }
  }
}
