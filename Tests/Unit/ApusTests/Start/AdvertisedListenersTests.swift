import Metadata
import NIOServer
import Testing

@testable import apus

@Suite struct AdvertisedListenersTests {
  private func advertised(_ listeners: String, _ advertised: String? = nil, bound port: Int, hostName: String? = "box") throws
    -> (listeners: [String], warnings: [String])
  {
    var settings = StaticConfig()
    try settings.set("listeners", listeners)
    if let advertised { try settings.set("advertised.listeners", advertised) }
    let config = try BrokerConfig(BrokerConfigLayers(staticConfig: settings))
    let bound = config.listeners.map { ListenerAddress(name: $0.name, host: $0.host, port: $0.port == 0 ? port : Int($0.port)) }
    let result = AdvertisedListeners(config, bound: bound, hostName: { hostName })
    return (result.listeners.map(\.description), result.warnings)
  }

  @Test func theBoundPortIsTold() throws {
    let result = try self.advertised("PLAINTEXT://127.0.0.1:0", bound: 4711)
    #expect(result.listeners == ["PLAINTEXT://127.0.0.1:4711"])
    #expect(result.warnings.isEmpty)
  }

  @Test func whatIsConfiguredIsTold() throws {
    let result = try self.advertised("PLAINTEXT://0.0.0.0:9092", "PLAINTEXT://kafka.example:9000", bound: 0)
    #expect(result.listeners == ["PLAINTEXT://kafka.example:9000"])
    #expect(result.warnings.isEmpty)
  }

  @Test(arguments: ["0.0.0.0", "[::]", ""]) func allInterfacesAreNoAddress(host: String) throws {
    let named = try self.advertised("PLAINTEXT://\(host):9092", bound: 0)
    #expect(named.listeners == ["PLAINTEXT://box:9092"])
    #expect(named.warnings.count == 1)
    let unnamed = try self.advertised("PLAINTEXT://\(host):9092", bound: 0, hostName: nil)
    #expect(unnamed.listeners == ["PLAINTEXT://127.0.0.1:9092"])
  }
}
