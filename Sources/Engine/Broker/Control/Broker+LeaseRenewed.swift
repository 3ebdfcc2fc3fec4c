extension Broker {
  /// The lease is live again: partitions that waited for it go on.
  func leaseRenewed() {}
}
