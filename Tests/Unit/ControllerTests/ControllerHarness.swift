import Environment
import Metadata
import Model
import NIOCore
import Synchronization

@testable import Controller

/// What a listener saw and a test's requests were answered, in order, as lines.
final class Journal: MetadataListener {
  private let lines = Mutex<[String]>([])
  private let images = Mutex<[MetadataImage]>([])

  var entries: [String] { self.lines.withLock { $0 } }
  var published: [MetadataImage] { self.images.withLock { $0 } }
  func note(_ line: String) { self.lines.withLock { $0.append(line) } }
  func clear() { self.lines.withLock { $0 = [] } }

  func metadataChanged(_ image: MetadataImage, _ delta: MetadataDelta) {
    self.images.withLock { $0.append(image) }
    let names = delta.createdTopics.compactMap { image.topic($0)?.name }
    self.note("image \(image.offset)" + (names.isEmpty ? "" : " +\(names.joined(separator: ","))"))
  }
  func controllerEvent(_ event: ControllerEvent) {
    switch event {
    case .loaded(let count, _): self.note("loaded \(count)")
    case .appendFailed(let error): self.note("append failed: \(error)")
    case .commitDelayed(let error): self.note("commit delayed: \(error)")
    case .logFailed(let error): self.note("log failed: \(error)")
    }
  }
}

/// A log in memory that commits when the test says so.
final class ScriptedLog: MetadataLogPort {
  private struct State {
    var records: [ByteBuffer]
    var batches: [Int] = []
    var listener: (@Sendable (MetadataLogEvent) -> Void)?
    var refusal: MetadataLogError?
    /// So many batches are taken before the refusal.
    var taken = 0
  }
  private let state: Mutex<State>
  init(_ records: [ByteBuffer] = []) { self.state = Mutex(State(records: records)) }

  var nextOffset: Offset { self.state.withLock { Offset(Int64($0.records.count)) } }
  /// Records per batch.
  var batches: [Int] { self.state.withLock { $0.batches } }
  func refuse(_ error: MetadataLogError?, after taken: Int = 0) { self.state.withLock { ($0.refusal, $0.taken) = (error, taken) } }
  func commit(upTo offset: Offset? = nil) {
    let event = MetadataLogEvent.committed(upTo: offset ?? self.nextOffset)
    self.state.withLock { $0.listener }?(event)
  }
  func fail(_ reason: String) { self.state.withLock { $0.listener }?(.failed(MetadataLogError(reason))) }

  func read<E: Error>(from offset: Offset, _ body: (Offset, ByteBuffer) throws(E) -> Void) throws(MetadataLogReadError<E>) {
    for (index, record) in self.state.withLock({ $0.records }).enumerated() where index >= offset.rawValue {
      do throws(E) { try body(Offset(Int64(index)), record) } catch { throw .reader(error) }
    }
  }
  func start(_ listener: @escaping @Sendable (MetadataLogEvent) -> Void) { self.state.withLock { $0.listener = listener } }
  func append(_ records: [ByteBuffer]) throws(MetadataLogError) {
    try self.state.withLock { state throws(MetadataLogError) in
      if let refusal = state.refusal {
        if state.taken == 0 { throw refusal }
        state.taken -= 1
      }
      state.records += records
      state.batches.append(records.count)
    }
  }
  func close(_ completion: @escaping @Sendable (MetadataLogError?) -> Void) { completion(nil) }
}

let testClusterID = "controller-test-cluste"

func controllerSettings() throws -> ControllerSettings {
  let staticConfig = StaticConfig()
  return ControllerSettings(try BrokerConfig(BrokerConfigLayers(staticConfig: staticConfig)), staticConfig: staticConfig)
}

func makeController(_ log: any MetadataLogPort, _ journal: Journal, seed: UInt64 = 3) throws -> ControllerDriver {
  try ControllerDriver(
    log: log, initial: MetadataImage(clusterID: testClusterID), settings: try controllerSettings(), seed: seed, listener: journal)
}

func registration(incarnation: UInt64 = 1, previousEpoch: BrokerEpoch = .unknown) -> RegisterBroker {
  RegisterBroker(
    clusterID: testClusterID, nodeID: NodeID(1), incarnationID: KafkaUUID(high: 1, low: incarnation),
    endpoints: [Listener(name: "PLAINTEXT", host: "localhost", port: 9092)], logDirectories: [KafkaUUID(high: 9, low: 9)],
    previousEpoch: previousEpoch)
}

extension ControllerDriver {
  /// Submits and notes the answer as `<label> ok` or `<label> <code>`.
  func run<Request: ControllerRequest>(_ request: Request, _ label: String, _ journal: Journal) {
    self.submit(request) { result in
      switch result {
      case .success: journal.note("\(label) ok")
      case .failure(let error): journal.note("\(label) \(error.code)")
      }
    }
  }

  /// Registers and unfences node 1. `pump` makes the log commit.
  func addBroker(incarnation: UInt64 = 1, previousEpoch: BrokerEpoch = .unknown, pump: () -> Void) -> BrokerEpoch? {
    let answer = Mutex<BrokerEpoch?>(nil)
    self.submit(registration(incarnation: incarnation, previousEpoch: previousEpoch)) { result in
      answer.withLock { $0 = try? result.get() }
    }
    pump()
    guard let epoch = answer.withLock({ $0 }) else { return nil }
    self.submit(UnfenceBroker(nodeID: NodeID(1), epoch: epoch)) { _ in }
    pump()
    return epoch
  }
}
