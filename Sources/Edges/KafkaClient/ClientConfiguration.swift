/// How a client finds brokers and how patient it is. Names in parentheses are Kafka's.
public struct ClientConfiguration: Hashable, Sendable {
  /// Addresses to start from, tried in turn until one answers; the cluster tells the rest (`bootstrap.servers`).
  public var bootstrap: [BrokerAddress]
  /// Told to the broker with every request, for its logs and quotas (`client.id`).
  public var clientID: String
  /// How long one request may wait for its answer (`request.timeout.ms`).
  public var requestTimeout: Duration = .seconds(30)
  /// How long one attempt to connect may take (`socket.connection.setup.timeout.ms`).
  public var connectTimeout: Duration = .seconds(10)
  /// How long a call of the administration or a wait for metadata may take in all, attempts included (`default.api.timeout.ms`).
  public var operationTimeout: Duration = .seconds(60)
  /// How much of that may go by while no broker can be reached at all.
  public var unreachableTimeout: Duration = .seconds(60)
  /// The wait before connecting again, doubled after each failure up to the maximum, with 20 % jitter (`reconnect.backoff.ms`, `.max.ms`).
  public var reconnectBackoff: Duration = .milliseconds(50)
  public var reconnectBackoffMax: Duration = .seconds(1)
  /// The wait before a refused request is sent again, doubled each time up to the maximum (`retry.backoff.ms`, `.max.ms`).
  public var retryBackoff: Duration = .milliseconds(100)
  public var retryBackoffMax: Duration = .seconds(1)
  /// Metadata older than this is asked for again even if nothing failed (`metadata.max.age.ms`).
  public var metadataMaxAge: Duration = .seconds(300)
  /// An answer longer than this breaks the connection, so that a broken peer cannot exhaust memory. In bytes.
  public var responseByteCountMax = 1 << 30

  public init(bootstrap: [BrokerAddress], clientID: String = "apus") {
    (self.bootstrap, self.clientID) = (bootstrap, clientID)
  }

  /// From a comma-separated list of `host:port`. Throws `.invalidArgument` if it cannot be read.
  public init(bootstrap: String, clientID: String = "apus") throws(KafkaError) {
    self.init(bootstrap: try BrokerAddress.list(bootstrap), clientID: clientID)
  }
}
