package import Model
package import Wire

/// What went wrong, in a form a program can act on, and a sentence for the person who reads it.
public struct KafkaError: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Kind: Hashable, Sendable {
    /// The broker refused: Kafka's numeric error code and its name, such as 3 and `UNKNOWN_TOPIC_OR_PARTITION`.
    case broker(code: Int16, name: String)
    /// No connection, or it broke while an answer was due: whether the broker acted on the request is unknown.
    case connection
    /// No answer within the time allowed. Whether the broker acted on the request is unknown.
    case timeout
    /// The broker does not speak any version of the request that this client speaks.
    case unsupportedVersion
    /// The broker's bytes do not follow the protocol, or a record batch is corrupt.
    case malformed
    /// The caller asked for what cannot be done: a bad configuration, a record beyond the limits, an unknown partition.
    case invalidArgument
    /// The producer, consumer or admin client has been closed.
    case closed
    /// The task that waited was cancelled.
    case cancelled
  }

  public var kind: Kind
  /// What, why and what next.
  public var message: String

  public init(_ kind: Kind, _ message: String) { (self.kind, self.message) = (kind, message) }

  public var description: String {
    if case .broker(_, let name) = self.kind { return self.message.isEmpty ? name : "\(name): \(self.message)" }
    return self.message
  }

  /// True if the same request may succeed later, without anybody changing it.
  public var isRetriable: Bool {
    switch self.kind {
    case .broker(let code, _): ErrorCode(rawValue: code)?.isRetriable ?? false
    case .connection, .timeout: true
    case .unsupportedVersion, .malformed, .invalidArgument, .closed, .cancelled: false
    }
  }

  /// The broker's error code, if a broker refused.
  package var code: ErrorCode? {
    if case .broker(let code, _) = self.kind { ErrorCode(rawValue: code) ?? .unknownServerError } else { nil }
  }

  /// The refusal of a broker: `code` with the broker's own message, or a sentence of ours about `subject`.
  package init(_ code: ErrorCode, _ message: String? = nil, about subject: String = "") {
    let text = message ?? (subject.isEmpty ? "" : "\(subject): \(code.explanation)")
    self.init(.broker(code: code.rawValue, name: code.description), text)
  }

  package static func malformedAnswer(_ error: WireError, from address: String) -> KafkaError {
    KafkaError(.malformed, "the answer of \(address) cannot be read: \(error)")
  }

  /// Any error that came up from an event loop, in this type.
  package init(wrapping error: any Error) {
    switch error {
    case let error as KafkaError: self = error
    case is CancellationError: self.init(.cancelled, "the waiting task was cancelled")
    default: self.init(.connection, "\(error)")
    }
  }
}

extension ErrorCode {
  /// What the code means to the person at the other end, and what to do, for those that people meet.
  var explanation: String {
    switch self {
    case .unknownTopicOrPartition: "no such topic or partition; create it first (`apus topic create`) or check the name"
    case .unknownTopicId: "the topic was deleted, or the broker does not know it yet"
    case .topicAlreadyExists: "a topic of that name exists already"
    case .leaderNotAvailable: "the partition has no leader at the moment; try again"
    case .notLeaderOrFollower: "the broker no longer leads the partition; the client looks up the new leader"
    case .invalidTopicException: "the name is not allowed: 1 to 249 of a-z A-Z 0-9 . _ - and not . or .."
    case .messageTooLarge: "larger than the broker takes; raise message.max.bytes (or the topic's max.message.bytes)"
    case .recordListTooLarge: "the batch is larger than a segment of the topic; raise segment.bytes"
    case .notEnoughReplicas: "fewer replicas in sync than min.insync.replicas asks for"
    case .notEnoughReplicasAfterAppend: "written, but to fewer replicas than min.insync.replicas asks for"
    case .offsetOutOfRange: "the offset is before the partition's first record or after its end"
    case .topicAuthorizationFailed, .clusterAuthorizationFailed, .groupAuthorizationFailed: "not authorised"
    case .requestTimedOut: "the broker did not finish in time"
    case .corruptMessage: "the checksum did not match on arrival"
    case .unsupportedCompressionType: "the broker does not take this compression"
    case .policyViolation: "the cluster's policy does not allow it"
    case .invalidReplicationFactor: "more replicas than there are brokers, or less than one"
    case .invalidPartitions: "the number of partitions is not allowed; it can only grow"
    case .kafkaStorageError: "the broker's disk failed"
    default: "refused by the broker"
    }
  }
}
