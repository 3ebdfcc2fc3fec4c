/// What one listener allows its clients. Every limit is a configuration key; the defaults are Kafka's where Kafka has the key.
package struct ServerLimits: Hashable, Sendable {
  /// `socket.request.max.bytes`.
  package var frameByteCountMax = 100 << 20
  /// Requests of one connection that may wait for their answers; further ones stay in the socket.
  package var inFlightRequestsMax = 1024
  /// Bytes of requests of one connection that may wait for their answers, all together; one request is always served. What a request
  /// holds while it waits is in proportion to its size.
  package var inFlightByteCountMax = 100 << 20
  /// Bytes of answers of one connection that the socket has not taken yet. Above it no further request of that connection is served.
  package var outboundByteCountMax = 8 << 20
  /// `connections.max.idle.ms`: a connection on which nothing moved for so long is closed.
  package var idleMax: Duration = .seconds(600)
  /// `max.connections`.
  package var connectionsMax = Int(Int32.max)
  /// `max.connections.per.ip`.
  package var connectionsPerAddressMax = Int(Int32.max)
  /// `max.connections.per.ip.overrides`: by address as text.
  package var connectionsPerAddressOverrides: [String: Int] = [:]
  /// `socket.receive.buffer.bytes`; nil leaves it to the system, which is up to twice as fast on a fast network.
  package var receiveBufferByteCount: Int?
  /// `socket.send.buffer.bytes`.
  package var sendBufferByteCount: Int?
  /// How long a connection that is being closed may take to accept its last answers.
  package var closingMax: Duration = .seconds(5)

  package init() {}
}
