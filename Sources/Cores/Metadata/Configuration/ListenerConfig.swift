import Model

/// The listeners of a node, those for clients and brokers apart from those of its controller.
struct ListenerConfig {
  var bound: [Listener]
  var advertised: [Listener]
  var controllerNames: [String]
  var controllers: [Listener]
  var advertisedControllers: [Listener]
  var interBrokerName: String

  init(_ reader: BrokerConfigReader) throws(ConfigError) {
    let text = reader.layers.value("listeners") ?? ""
    let roles = try reader.roles()
    var protocols = try parseProtocolMap(reader.layers.value("listener.security.protocol.map") ?? "")
    self.controllerNames = configList(reader.text("controller.listener.names") ?? "").map { $0.uppercased() }
    // As Kafka has it: a controller listener that the map leaves out is PLAINTEXT.
    for name in self.controllerNames { protocols[name] = protocols[name] ?? .plaintext }
    let names = self.controllerNames
    let all = try parseListeners(text, config: "listeners", protocols: protocols)
    self.bound = all.filter { !names.contains($0.name) }
    self.controllers = all.filter { names.contains($0.name) }
    if roles == ["controller"] {
      if let listener = self.bound.first {
        throw ConfigError(
          "listeners",
          "The listeners config must only contain KRaft controller listeners from controller.listener.names when "
            + "process.roles=controller; it contains \(listener)")
      }
    } else if self.bound.isEmpty {
      throw .invalid("listeners", text, "at least one listener for clients is needed")
    }
    (self.advertised, self.advertisedControllers) = (self.bound, self.controllers)
    if let text = reader.text("advertised.listeners") {
      let advertised = try parseListeners(text, config: "advertised.listeners", protocols: protocols)
      for listener in advertised { try Self.check(advertised: listener, all) }
      self.advertised = advertised.filter { !names.contains($0.name) }
      for listener in self.bound where !self.advertised.contains(where: { $0.name == listener.name }) {
        throw .invalid("advertised.listeners", text, "listener \(listener.name) is not advertised")
      }
      // A controller's that is not named there is advertised as it is bound.
      self.advertisedControllers = self.controllers.map { bound in advertised.first { $0.name == bound.name } ?? bound }
    }
    self.interBrokerName = try Self.interBrokerName(reader, self.bound, names)
  }

  private static func check(advertised listener: Listener, _ bound: [Listener]) throws(ConfigError) {
    if !bound.contains(where: { $0.name == listener.name }) {
      throw .invalid("advertised.listeners", listener.description, "there is no listener of that name in listeners")
    }
    if listener.host.isEmpty || listener.host == "0.0.0.0" || listener.host == "::" {
      throw .invalid(
        "advertised.listeners", listener.description, "clients need an address to connect to, which \"all interfaces\" is not")
    }
  }

  private static func interBrokerName(
    _ reader: BrokerConfigReader, _ bound: [Listener], _ controllers: [String]
  ) throws(ConfigError) -> String {
    guard let name = reader.text("inter.broker.listener.name")?.uppercased() else { return bound.first?.name ?? "PLAINTEXT" }
    if controllers.contains(name) {
      throw ConfigError(
        "inter.broker.listener.name",
        "controller.listener.names must not contain an explicitly set inter.broker.listener.name configuration value when running KRaft; "
          + "both are \(name)")
    }
    // A controller alone has no listener for brokers; the name says where it finds theirs.
    if !bound.isEmpty, !bound.contains(where: { $0.name == name }) {
      throw .invalid("inter.broker.listener.name", name, "there is no listener of that name in listeners")
    }
    return name
  }
}
