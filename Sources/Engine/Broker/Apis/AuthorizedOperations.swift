/// What a client may do, as bits by Kafka's numbers of ACL operations (KIP-430). Without an authorizer that is everything there is.
enum AuthorizedOperations {
  /// Read, write, create, delete, alter, describe, describe and alter configs.
  static let topic: Int32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11
  /// Create, alter, describe, cluster action, describe and alter configs, idempotent write.
  static let cluster: Int32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
}
