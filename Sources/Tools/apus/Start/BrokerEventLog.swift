import Base
import Broker
import Controller
import Logging
import Metadata
import Model
import NIOServer
import Replication
import Storage

/// Tells the log what the broker and its listeners report, at the level it deserves.
struct BrokerEventLog: BrokerEvents {
  let log: Logger
  /// Hears of what the process cannot go on after.
  let status: NodeStatus

  func record(_ event: BrokerEvent) {
    switch event {
    case .logDirectoryOpened(let path, let partitionCount, let wasClosedCleanly):
      self.log.info(
        "log directory opened", metadata: ["path": "\(path)", "partitions": "\(partitionCount)", "clean": "\(wasClosedCleanly)"])
    case .storageNotice(let notice): self.log.warning("\(notice)")
    case .logRecovered(let report):
      self.log.info(
        "log recovered",
        metadata: [
          "partition": "\(report.topicPartition)", "from": "\(report.recoveryPoint)", "end": "\(report.logEndOffset)",
          "scannedBytes": "\(report.scannedByteCount)", "removedBytes": "\(report.removedByteCount)",
        ])
      for notice in report.notices { self.log.warning("\(notice)") }
    case .started(let node, let clusterID, let partitionCount, let took):
      self.log.info(
        "broker started",
        metadata: ["node": "\(node)", "cluster": "\(clusterID)", "partitions": "\(partitionCount)", "ms": "\(took.wholeMilliseconds)"])
    case .partitionCreated(let partition, let topicID):
      self.log.info("partition created", metadata: ["partition": "\(partition)", "topicId": "\(topicID)"])
    case .partitionDeleted(let partition, let topicID):
      self.log.info("partition deleted", metadata: ["partition": "\(partition)", "topicId": "\(topicID)"])
    case .strayPartition(let path, let reason):
      self.log.warning("stray partition directory, left as it is", metadata: ["path": "\(path)", "reason": "\(reason)"])
    case .becameLeader(let partition, let epoch, let logEndOffset, let highWatermark):
      self.log.debug(
        "leads partition",
        metadata: ["partition": "\(partition)", "epoch": "\(epoch)", "end": "\(logEndOffset)", "highWatermark": "\(highWatermark)"])
    case .replica(let partition, let event):
      self.log.log(level: Self.level(of: event), "replica", metadata: ["partition": "\(partition)", "event": "\(event)"])
    case .fetchSessionLost(let leader, let error):
      self.log.info("replication from a broker begins anew", metadata: ["leader": "\(leader)", "reason": "\(error)"])
    case .partitionOffline(let partition, let cause):
      self.log.error("partition offline", metadata: ["partition": "\(partition)", "reason": "\(cause)"])
    case .logDirectoryFailed(let path, let cause):
      self.log.critical("log directory failed", metadata: ["path": "\(path)", "reason": "\(cause)"])
    case .partitionBackOnline(let partition): self.log.info("partition back online", metadata: ["partition": "\(partition)"])
    case .flushDeferred(let partition, let cause):
      self.log.error("flush put off, tried again", metadata: ["partition": "\(partition)", "reason": "\(cause)"])
    case .appendRefused(let partition, let cause):
      self.log.error("append refused", metadata: ["partition": "\(partition)", "reason": "\(cause)"])
    case .readFailed(let partition, let offset, let cause):
      self.log.error("read failed", metadata: ["partition": "\(partition)", "offset": "\(offset)", "reason": "\(cause)"])
    case .recordsDeleted(let partition, let logStartOffset, let cause):
      let because: String =
        switch cause {
        case .retention: "retention"
        case .deleteRecords(let clientID): "DeleteRecords of \(clientID ?? "an unnamed client")"
        }
      self.log.info("records deleted", metadata: ["partition": "\(partition)", "start": "\(logStartOffset)", "cause": "\(because)"])
    case .logLevelChanged(let logger, let level, let clientID):
      self.log.warning(
        "log level changed", metadata: ["logger": "\(logger)", "level": "\(level.rawValue)", "clientId": "\(clientID ?? "")"])
    case .topicConfigChanged(let topic): self.log.info("topic config changed", metadata: ["topic": "\(topic)"])
    case .topicConfigIgnored(let topic, let error):
      self.log.warning("topic config ignored", metadata: ["topic": "\(topic)", "reason": "\(error)"])
    case .checkpointFailed(let logDirectory, let cause):
      self.log.error("checkpoint failed", metadata: ["path": "\(logDirectory)", "reason": "\(cause)"])
    case .backgroundWorkFailed(let what, let cause):
      self.log.error("background work failed", metadata: ["what": "\(what)", "reason": "\(cause)"])
    case .connectionRefused(let client, let clientID, let reason):
      self.log.warning(
        "connection refused", metadata: ["peer": "\(client.host):\(client.port)", "clientId": "\(clientID ?? "")", "reason": "\(reason)"])
    case .controlRequestRefused(let client, let node, let api, let error):
      self.log.warning(
        "request of another node refused",
        metadata: ["api": "\(api)", "node": "\(node)", "peer": "\(client.host):\(client.port)", "error": "\(error)"])
    case .waitingForQuorum:
      self.log.warning(
        "no quorum yet: a majority of the controllers must run, reach each other, and belong to the same cluster (meta.properties)")
    case .registered(let epoch): self.log.info("registered with the cluster", metadata: ["epoch": "\(epoch)"])
    case .membership(let event): self.record(event)
    case .leftCluster(let leaving): self.log.info("left the cluster", metadata: ["how": "\(leaving)"])
    case .failed(let error):
      self.log.critical("the node cannot go on", metadata: ["reason": "\(error)"])
      self.status.noteFailure(StartError(error))
    case .controller(let event):
      self.record(event)
      if case .failed(let error) = event { self.status.noteFailure(StartError(.controller(error))) }
    case .metadataCloseFailed(let error): self.log.error("the metadata log could not be closed", metadata: ["reason": "\(error)"])
    case .shutdownBegan: self.log.info("shutdown began")
    case .shutdownEnded(let took): self.log.info("shutdown ended", metadata: ["ms": "\(took.wholeMilliseconds)"])
    }
  }

  private func record(_ event: BrokerLifecycleEvent) {
    switch event {
    case .registrationDelayed(.noAnswer): self.log.info("no active controller answers, and this broker waits to register")
    case .registrationDelayed(.error(let error)): self.log.warning("registration put off", metadata: ["error": "\(error)"])
    case .registrationLost(let error):
      self.log.warning("the controller does not know this broker any more, it registers anew", metadata: ["error": "\(error)"])
    case .heartbeatRefused(let error): self.log.warning("heartbeat refused", metadata: ["error": "\(error)"])
    case .fenced: self.log.warning("fenced: others lead until this broker has caught up")
    case .unfenced: self.log.info("unfenced")
    }
  }

  private static func level(of event: ReplicationEvent) -> Logger.Level {
    switch event {
    case .refusedTruncation: .error
    case .underMinInSync, .leaseEnded, .slept: .warning
    case .inSyncReplicasChanged, .truncated, .restarted: .info
    case .tookLeadership, .resigned, .proposed, .proposalFailed, .staleAnswer, .following, .stoppedFollowing, .fetchFailed: .debug
    }
  }

  private func record(_ event: ControllerEvent) {
    switch event {
    case .loaded, .snapshotLoaded, .snapshotTaken, .quorumLeaderChanged, .becameActive, .brokerRegistered, .brokerUnfenced,
      .brokerShutsDown, .brokerUnregistered, .brokerFenced(_, _, cause: .controlledShutdown):
      self.log.info("\(event)")
    case .partitionChanged: self.log.debug("\(event)")
    case .steppedDown, .brokerFenced, .cleanUpFailed, .uncleanElectionGaveUp: self.log.warning("\(event)")
    case .snapshotFailed, .commitDelayed, .failed: self.log.error("\(event)")
    }
  }

  func record(_ event: ServerEvent) {
    switch event {
    case .opened(let client):
      self.log.debug("connection opened", metadata: ["peer": "\(client.host):\(client.port)", "listener": "\(client.listener)"])
    case .closed(let client, let reason, let isError):
      self.log.log(
        level: isError ? .warning : .debug, "connection closed",
        metadata: ["peer": "\(client.host):\(client.port)", "listener": "\(client.listener)", "reason": "\(reason)"])
    case .refused(let host, let listener, let reason):
      self.log.warning("connection not accepted", metadata: ["peer": "\(host)", "listener": "\(listener)", "reason": "\(reason)"])
    case .acceptFailed(let listener, let reason):
      self.log.error("cannot accept connections for a second", metadata: ["listener": "\(listener)", "reason": "\(reason)"])
    }
  }
}
