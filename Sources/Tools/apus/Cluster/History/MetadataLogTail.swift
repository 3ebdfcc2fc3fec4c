import KafkaClient
import Records

/// Follows the metadata log of a running cluster: first all there is, then what comes. It goes on from where it was when the broker it
/// reads from is lost.
struct MetadataLogTail {
  private var reader: MetadataLogReader
  private(set) var history = ClusterHistory()

  init(_ admin: KafkaAdmin) { self.reader = MetadataLogReader(admin) }

  /// Reads up to what is committed now. `body` hears of every event.
  mutating func catchUp(_ body: (ClusterHistory.Entry) -> Void) async throws {
    while try await self.step(wait: .zero, body) {}
  }

  /// Waits for news, up to `wait`. False if there is none, or the end is reached with what came.
  @discardableResult
  mutating func step(wait: Duration, _ body: (ClusterHistory.Entry) -> Void) async throws -> Bool {
    let page: MetadataLogReader.Page
    do throws(KafkaError) { page = try await self.reader.next(wait: wait) } catch { throw Self.explained(error) }
    switch page {
    case .snapshot(let batches, let end):
      try self.history.load(snapshot: batches, endOffset: end)
      return true
    case .batches(let batches, let watermark):
      for batch in batches { try self.history.take(batch, body) }
      return !batches.isEmpty && self.history.endOffset < watermark
    }
  }

  /// Whether an error means that this cluster's brokers never serve the log.
  static func isNotServed(_ error: KafkaError) -> Bool {
    // UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, TOPIC_AUTHORIZATION_FAILED, INVALID_TOPIC_EXCEPTION
    if case .broker(let code, _) = error.kind { return [3, 100, 29, 17].contains(code) }
    return error.kind == .unsupportedVersion
  }

  private static func explained(_ error: KafkaError) -> any Error {
    guard Self.isNotServed(error) else { return error }
    if case .broker(_, let name) = error.kind { return MetadataLogNotServed(reason: name) }
    return MetadataLogNotServed(reason: error.message)
  }
}

/// The brokers of this cluster do not let clients read the metadata log.
struct MetadataLogNotServed: Error, CustomStringConvertible {
  var reason: String
  var description: String {
    """
    the brokers of this cluster do not let clients read the metadata log (\(self.reason)); Apus' do, Apache Kafka's do not. On a machine \
    of a node, give its data directory instead: --log-dir DIR
    """
  }
}
