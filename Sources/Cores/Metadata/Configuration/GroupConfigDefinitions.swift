/// The configs of a group in Kafka 4.2, in the order of their names. This version serves no groups and only shows them.
let groupConfigDefinitions: [ConfigDefinition] = [
  .init("consumer.heartbeat.interval.ms", .int, "5000", .atLeast(1), "How often members of a consumer group report, in milliseconds."),
  .init("consumer.session.timeout.ms", .int, "45000", .atLeast(1),
    "How long a member of a consumer group may be silent before it is put out, in milliseconds."),
  .init("share.auto.offset.reset", .string, "latest", .any,
    "Where a share group begins to read a partition: latest, earliest or by_duration."),
  .init("share.heartbeat.interval.ms", .int, "5000", .atLeast(1), "How often members of a share group report, in milliseconds."),
  .init("share.isolation.level", .string, "read_uncommitted", .oneOf(["read_committed", "read_uncommitted"]),
    "Whether a share group sees records of transactions that are not committed."),
  .init("share.record.lock.duration.ms", .int, "30000", .atLeast(1000),
    "How long a member of a share group may keep a record to itself, in milliseconds."),
  .init("share.session.timeout.ms", .int, "45000", .atLeast(1),
    "How long a member of a share group may be silent before it is put out, in milliseconds."),
  .init("streams.heartbeat.interval.ms", .int, "5000", .atLeast(1), "How often members of a streams group report, in milliseconds."),
  .init("streams.initial.rebalance.delay.ms", .int, "3000", .atLeast(0),
    "How long a new streams group waits for more members, in milliseconds."),
  .init("streams.num.standby.replicas", .int, "0", .atLeast(0), "Standby replicas of each task of a streams group."),
  .init("streams.session.timeout.ms", .int, "45000", .atLeast(1),
    "How long a member of a streams group may be silent before it is put out, in milliseconds."),
]

/// The configs of a subscription to clients' metrics (KIP-714). This version takes no metrics and only shows them.
let clientMetricsConfigDefinitions: [ConfigDefinition] = [
  .init("interval.ms", .int, "300000", .range(100...3_600_000), "How often a client sends its metrics, in milliseconds."),
  .init("match", .list, "", .any, "Which clients are meant: name=pattern pairs. Empty is all."),
  .init("metrics", .list, "", .any, "Beginnings of the names of the metrics that are wanted."),
]
