/// The rest of Kafka 4.2's broker configs, and those that Kafka 3 still had: known, so that a `server.properties` written for
/// Kafka starts Apus, and each with the reason why it changes nothing here. One line per key: name, type, default (none: not set).
///
/// A table in text, since 300 initialiser calls would cost more to compile than this costs to read at start.
let acceptedConfigDefinitions: [ConfigDefinition] = acceptedGroups.flatMap { group in
  group.keys.split(separator: "\n").map { line in
    let columns = line.split(separator: " ", maxSplits: 2).map { String($0) }
    let defaultValue = columns.count > 2 ? columns[2] : nil
    return ConfigDefinition(columns[0], acceptedType(columns[1]), defaultValue, status: group.status, group.status.note)
  }
}

private func acceptedType(_ name: String) -> ConfigType {
  switch name {
  case "boolean": .boolean
  case "int": .int
  case "short": .short
  case "long": .long
  case "double": .double
  case "list": .list
  case "class": .class
  case "password": .password
  default: .string
  }
}

extension ConfigDefinition.Status {
  fileprivate var note: String {
    switch self {
    case .used: ""
    case .accepted(let reason): "Accepted, has no effect: \(reason)."
    case .unsupported(let reason): "Not supported: \(reason)."
    }
  }
}

/// Keys whose ending is the user's own: plug-ins' and listeners' settings.
let acceptedPrefixes: [(prefix: String, status: ConfigDefinition.Status)] = [
  ("listener.name.", .accepted("settings of single listeners are not read by this version")),
  ("config.providers.", .unsupported("config providers are not supported by this version, so a reference to one would be taken literally")),
  ("rsm.config.", .accepted("tiered storage is not supported by this version")),
  ("rlmm.config.", .accepted("tiered storage is not supported by this version")),
]

/// Keys that share a reason.
private struct AcceptedGroup {
  var status: ConfigDefinition.Status
  var keys: String
  init(_ status: ConfigDefinition.Status, _ keys: String) { (self.status, self.keys) = (status, keys) }
}

private let acceptedGroups = [
  AcceptedGroup(.accepted("Apache Kafka removed it before 4.2"), """
    broker.id.generation.enable boolean true
    control.plane.listener.name string
    controlled.shutdown.max.retries int 3
    controlled.shutdown.retry.backoff.ms long 5000
    eligible.leader.replicas.enable boolean false
    group.coordinator.new.enable boolean true
    group.share.max.groups short 10
    inter.broker.protocol.version string
    leader.imbalance.per.broker.percentage int 10
    log.message.downconversion.enable boolean true
    log.message.format.version string 3.0-IV1
    log.message.timestamp.difference.max.ms long 9223372036854775807
    metadata.log.segment.min.bytes int 8388608
    password.encoder.cipher.algorithm string AES/CBC/PKCS5Padding
    password.encoder.iterations int 4096
    password.encoder.key.length int 128
    password.encoder.keyfactory.algorithm string
    password.encoder.old.secret password
    password.encoder.secret password
    reserved.broker.max.id int 1000
    share.fetch.max.fetch.records int 2147483647
    zookeeper.clientCnxnSocket string
    zookeeper.connect string
    zookeeper.connection.timeout.ms int
    zookeeper.max.in.flight.requests int 10
    zookeeper.metadata.migration.enable boolean false
    zookeeper.metadata.migration.min.batch.size int 200
    zookeeper.session.timeout.ms int 18000
    zookeeper.set.acl boolean false
    zookeeper.ssl.cipher.suites list
    zookeeper.ssl.client.enable boolean false
    zookeeper.ssl.crl.enable boolean false
    zookeeper.ssl.enabled.protocols list
    zookeeper.ssl.endpoint.identification.algorithm string HTTPS
    zookeeper.ssl.keystore.location string
    zookeeper.ssl.keystore.password password
    zookeeper.ssl.keystore.type string
    zookeeper.ssl.ocsp.enable boolean false
    zookeeper.ssl.protocol string TLSv1.2
    zookeeper.ssl.truststore.location string
    zookeeper.ssl.truststore.password password
    zookeeper.ssl.truststore.type string
    """),
  AcceptedGroup(.accepted("consumer groups are not served by this version"), """
    group.consumer.assignors list uniform,range
    group.consumer.heartbeat.interval.ms int 5000
    group.consumer.max.heartbeat.interval.ms int 15000
    group.consumer.max.session.timeout.ms int 60000
    group.consumer.max.size int 2147483647
    group.consumer.migration.policy string BIDIRECTIONAL
    group.consumer.min.heartbeat.interval.ms int 5000
    group.consumer.min.session.timeout.ms int 45000
    group.consumer.regex.refresh.interval.ms int 600000
    group.consumer.session.timeout.ms int 45000
    group.coordinator.append.linger.ms int -1
    group.coordinator.rebalance.protocols list classic,consumer,streams
    group.coordinator.threads int 4
    group.initial.rebalance.delay.ms int 3000
    group.max.session.timeout.ms int 1800000
    group.max.size int 2147483647
    group.min.session.timeout.ms int 6000
    group.streams.heartbeat.interval.ms int 5000
    group.streams.initial.rebalance.delay.ms int 3000
    group.streams.max.heartbeat.interval.ms int 15000
    group.streams.max.session.timeout.ms int 60000
    group.streams.max.size int 2147483647
    group.streams.max.standby.replicas int 2
    group.streams.min.heartbeat.interval.ms int 5000
    group.streams.min.session.timeout.ms int 45000
    group.streams.num.standby.replicas int 0
    group.streams.session.timeout.ms int 45000
    offset.metadata.max.bytes int 4096
    offsets.commit.timeout.ms int 5000
    offsets.load.buffer.size int 5242880
    offsets.retention.check.interval.ms long 600000
    offsets.retention.minutes int 10080
    offsets.topic.compression.codec int 0
    offsets.topic.num.partitions int 50
    offsets.topic.replication.factor short 3
    offsets.topic.segment.bytes int 104857600
    telemetry.max.bytes int 1048576
    """),
  AcceptedGroup(.accepted("transactions are not served by this version"), """
    add.partitions.to.txn.retry.backoff.max.ms int 100
    add.partitions.to.txn.retry.backoff.ms int 20
    transaction.abort.timed.out.transaction.cleanup.interval.ms int 10000
    transaction.max.timeout.ms int 900000
    transaction.partition.verification.enable boolean true
    transaction.remove.expired.transaction.cleanup.interval.ms int 3600000
    transaction.state.log.load.buffer.size int 5242880
    transaction.state.log.min.isr int 2
    transaction.state.log.num.partitions int 50
    transaction.state.log.replication.factor short 3
    transaction.state.log.segment.bytes int 104857600
    transaction.two.phase.commit.enable boolean false
    transactional.id.expiration.ms int 604800000
    """),
  AcceptedGroup(.accepted("share groups are not served by this version"), """
    group.share.assignors list simple
    group.share.delivery.count.limit int 5
    group.share.enable boolean false
    group.share.heartbeat.interval.ms int 5000
    group.share.initialize.retry.interval.ms int 30000
    group.share.max.heartbeat.interval.ms int 15000
    group.share.max.record.lock.duration.ms int 60000
    group.share.max.session.timeout.ms int 60000
    group.share.max.share.sessions int 2000
    group.share.max.size int 200
    group.share.min.heartbeat.interval.ms int 5000
    group.share.min.record.lock.duration.ms int 15000
    group.share.min.session.timeout.ms int 45000
    group.share.partition.max.record.locks int 2000
    group.share.persister.class.name string org.apache.kafka.server.share.persister.DefaultStatePersister
    group.share.record.lock.duration.ms int 30000
    group.share.session.timeout.ms int 45000
    share.coordinator.append.linger.ms int -1
    share.coordinator.cold.partition.snapshot.interval.ms int 300000
    share.coordinator.load.buffer.size int 5242880
    share.coordinator.snapshot.update.records.per.snapshot int 500
    share.coordinator.state.topic.compression.codec int 0
    share.coordinator.state.topic.min.isr short 2
    share.coordinator.state.topic.num.partitions int 50
    share.coordinator.state.topic.prune.interval.ms int 300000
    share.coordinator.state.topic.replication.factor short 3
    share.coordinator.state.topic.segment.bytes int 104857600
    share.coordinator.threads int 1
    share.coordinator.write.timeout.ms int 5000
    share.fetch.purgatory.purge.interval.requests int 1000
    """),
  AcceptedGroup(.accepted("only PLAINTEXT listeners are served by this version"), """
    connection.failed.authentication.delay.ms int 100
    connections.max.reauth.ms long 0
    delegation.token.expiry.check.interval.ms long 3600000
    delegation.token.expiry.time.ms long 86400000
    delegation.token.max.lifetime.ms long 604800000
    delegation.token.secret.key password
    principal.builder.class class org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder
    sasl.client.callback.handler.class class
    sasl.enabled.mechanisms list GSSAPI
    sasl.jaas.config password
    sasl.kerberos.kinit.cmd string /usr/bin/kinit
    sasl.kerberos.min.time.before.relogin long 60000
    sasl.kerberos.principal.to.local.rules list DEFAULT
    sasl.kerberos.service.name string
    sasl.kerberos.ticket.renew.jitter double 0.05
    sasl.kerberos.ticket.renew.window.factor double 0.8
    sasl.login.callback.handler.class class
    sasl.login.class class
    sasl.login.connect.timeout.ms int
    sasl.login.read.timeout.ms int
    sasl.login.refresh.buffer.seconds short 300
    sasl.login.refresh.min.period.seconds short 60
    sasl.login.refresh.window.factor double 0.8
    sasl.login.refresh.window.jitter double 0.05
    sasl.login.retry.backoff.max.ms long 10000
    sasl.login.retry.backoff.ms long 100
    sasl.mechanism string GSSAPI
    sasl.mechanism.controller.protocol string GSSAPI
    sasl.mechanism.inter.broker.protocol string GSSAPI
    sasl.oauthbearer.assertion.algorithm string RS256
    sasl.oauthbearer.assertion.claim.aud string
    sasl.oauthbearer.assertion.claim.exp.seconds int 300
    sasl.oauthbearer.assertion.claim.iss string
    sasl.oauthbearer.assertion.claim.jti.include boolean false
    sasl.oauthbearer.assertion.claim.nbf.seconds int 60
    sasl.oauthbearer.assertion.claim.sub string
    sasl.oauthbearer.assertion.file string
    sasl.oauthbearer.assertion.private.key.file string
    sasl.oauthbearer.assertion.private.key.passphrase password
    sasl.oauthbearer.assertion.template.file string
    sasl.oauthbearer.client.credentials.client.id string
    sasl.oauthbearer.client.credentials.client.secret password
    sasl.oauthbearer.clock.skew.seconds int 30
    sasl.oauthbearer.expected.audience list
    sasl.oauthbearer.expected.issuer string
    sasl.oauthbearer.header.urlencode boolean false
    sasl.oauthbearer.jwks.endpoint.refresh.ms long 3600000
    sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms long 10000
    sasl.oauthbearer.jwks.endpoint.retry.backoff.ms long 100
    sasl.oauthbearer.jwks.endpoint.url string
    sasl.oauthbearer.jwt.retriever.class class org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever
    sasl.oauthbearer.jwt.validator.class class org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator
    sasl.oauthbearer.scope string
    sasl.oauthbearer.scope.claim.name string scope
    sasl.oauthbearer.sub.claim.name string sub
    sasl.oauthbearer.token.endpoint.url string
    sasl.server.callback.handler.class class
    sasl.server.max.receive.size int 524288
    security.providers string
    ssl.allow.dn.changes boolean false
    ssl.allow.san.changes boolean false
    ssl.cipher.suites list
    ssl.client.auth string none
    ssl.enabled.protocols list TLSv1.2,TLSv1.3
    ssl.endpoint.identification.algorithm string https
    ssl.engine.factory.class class
    ssl.key.password password
    ssl.keymanager.algorithm string SunX509
    ssl.keystore.certificate.chain password
    ssl.keystore.key password
    ssl.keystore.location string
    ssl.keystore.password password
    ssl.keystore.type string JKS
    ssl.principal.mapping.rules string DEFAULT
    ssl.protocol string TLSv1.3
    ssl.provider string
    ssl.secure.random.implementation string
    ssl.trustmanager.algorithm string PKIX
    ssl.truststore.certificates password
    ssl.truststore.location string
    ssl.truststore.password password
    ssl.truststore.type string JKS
    """),
  AcceptedGroup(.accepted("tiered storage is not supported by this version"), """
    remote.fetch.max.wait.ms int 500
    remote.list.offsets.request.timeout.ms long 30000
    remote.log.index.file.cache.total.size.bytes long 1073741824
    remote.log.manager.copier.thread.pool.size int 10
    remote.log.manager.copy.max.bytes.per.second long 9223372036854775807
    remote.log.manager.copy.quota.window.num int 11
    remote.log.manager.copy.quota.window.size.seconds int 1
    remote.log.manager.expiration.thread.pool.size int 10
    remote.log.manager.fetch.max.bytes.per.second long 9223372036854775807
    remote.log.manager.fetch.quota.window.num int 11
    remote.log.manager.fetch.quota.window.size.seconds int 1
    remote.log.manager.follower.thread.pool.size int 2
    remote.log.manager.task.interval.ms long 30000
    remote.log.manager.task.retry.backoff.max.ms long 30000
    remote.log.manager.task.retry.backoff.ms long 500
    remote.log.manager.task.retry.jitter double 0.2
    remote.log.manager.thread.pool.size int 2
    remote.log.metadata.custom.metadata.max.bytes int 128
    remote.log.metadata.manager.class.name string org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager
    remote.log.metadata.manager.class.path string
    remote.log.metadata.manager.impl.prefix string rlmm.config.
    remote.log.metadata.manager.listener.name string
    remote.log.reader.max.pending.tasks int 100
    remote.log.reader.threads int 10
    remote.log.storage.manager.class.name string
    remote.log.storage.manager.class.path string
    remote.log.storage.manager.impl.prefix string rsm.config.
    """),
  AcceptedGroup(.accepted("quotas are not enforced by this version"), """
    alter.log.dirs.replication.quota.window.num int 11
    alter.log.dirs.replication.quota.window.size.seconds int 1
    client.quota.callback.class class
    connection_creation_rate int 2147483647
    consumer_byte_rate long 9223372036854775807
    controller.quota.window.num int 11
    controller.quota.window.size.seconds int 1
    controller_mutation_rate double 2147483647.0
    max.connection.creation.rate int 2147483647
    producer_byte_rate long 9223372036854775807
    quota.window.num int 11
    quota.window.size.seconds int 1
    replica.alter.log.dirs.io.max.bytes.per.second long 9223372036854775807
    request_percentage double 2147483647.0
    """),
  AcceptedGroup(.accepted("this version does not act on it"), """
    controller.performance.always.log.threshold.ms long 2000
    controller.performance.sample.period.ms long 60000
    controller.quorum.append.linger.ms int 25
    controller.socket.timeout.ms int 30000
    early.start.listeners string
    log.dir.failure.timeout.ms long 30000
    metadata.max.idle.interval.ms int 500
    num.replica.alter.log.dirs.threads int
    replica.socket.receive.buffer.bytes int 65536
    request.timeout.ms int 30000
    socket.connection.setup.timeout.max.ms long 30000
    socket.connection.setup.timeout.ms long 10000
    """),
  AcceptedGroup(.accepted("it tunes what is fixed in this version"), """
    internal.metadata.delete.delay.millis long 60000
    internal.metadata.log.segment.bytes int
    internal.metadata.max.batch.size.in.bytes int 8388608
    internal.metadata.max.fetch.size.in.bytes int 8388608
    """),
  AcceptedGroup(.accepted("compaction does not run in this version"), """
    log.cleaner.backoff.ms long 15000
    log.cleaner.dedupe.buffer.size long 134217728
    log.cleaner.enable boolean true
    log.cleaner.io.buffer.load.factor double 0.9
    log.cleaner.io.buffer.size int 524288
    log.cleaner.io.max.bytes.per.second double 1.7976931348623157E308
    log.cleaner.threads int 1
    """),
  AcceptedGroup(.accepted("Apus does not have the threads and queues it sizes"), """
    background.threads int 10
    delete.records.purgatory.purge.interval.requests int 1
    fetch.purgatory.purge.interval.requests int 1000
    internal.segment.bytes int
    log.initial.task.delay.ms long 30000
    num.io.threads int 8
    producer.purgatory.purge.interval.requests int 1000
    queued.max.requests int 500
    server.max.startup.time.ms long 9223372036854775807
    """),
  AcceptedGroup(.accepted("metrics do not come from the JVM here"), """
    kafka.metrics.polling.interval.secs int 10
    kafka.metrics.reporters list
    metric.reporters list org.apache.kafka.common.metrics.JmxReporter
    metrics.num.samples int 2
    metrics.recording.level string INFO
    metrics.sample.window.ms long 30000
    """),
  AcceptedGroup(.accepted("only released versions of the protocol are served"), """
    unstable.api.versions.enable boolean false
    unstable.feature.versions.enable boolean false
    """),
  AcceptedGroup(.unsupported("this version cannot do what it asks, and ignoring it would be unsafe"), """
    alter.config.policy.class.name class
    authorizer.class.name string
    config.providers list
    create.topic.policy.class.name class
    remote.log.storage.system.enable boolean false
    """),
]
