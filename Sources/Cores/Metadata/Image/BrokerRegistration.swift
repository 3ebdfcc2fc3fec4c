package import Model

/// A broker as it registered: who and where it is, and whether it may lead.
package struct BrokerRegistration: Sendable, Hashable {
  /// The versions of a feature a broker can work with.
  package struct FeatureRange: Sendable, Hashable {
    package var name: String
    package var versions: ClosedRange<Int16>
    package init(name: String, versions: ClosedRange<Int16>) { (self.name, self.versions) = (name, versions) }
  }

  package var nodeID: NodeID
  /// Drawn anew by each process.
  package var incarnationID: KafkaUUID
  package var epoch: BrokerEpoch
  package var endpoints: [Listener]
  package var features: [FeatureRange] = []
  package var rack: String?
  /// A fenced broker leads nothing, and clients are not told of it for longer than `fenced.broker.linger.ms`.
  package var isFenced: Bool
  package var isInControlledShutdown: Bool
  package var logDirectories: [KafkaUUID]

  package init(
    nodeID: NodeID, incarnationID: KafkaUUID, epoch: BrokerEpoch, endpoints: [Listener], features: [FeatureRange] = [],
    rack: String? = nil, isFenced: Bool = true, isInControlledShutdown: Bool = false, logDirectories: [KafkaUUID] = []
  ) {
    self.nodeID = nodeID
    self.incarnationID = incarnationID
    self.epoch = epoch
    self.endpoints = endpoints
    self.features = features
    self.rack = rack
    self.isFenced = isFenced
    self.isInControlledShutdown = isInControlledShutdown
    self.logDirectories = logDirectories
  }

  /// Whether it may be in an ISR and lead.
  package var isActive: Bool { !self.isFenced && !self.isInControlledShutdown }

  package func endpoint(_ listenerName: String) -> Listener? { self.endpoints.first { $0.name == listenerName } }
}
