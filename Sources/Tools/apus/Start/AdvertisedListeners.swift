import Metadata
import NIOServer

/// What clients are told to connect to: as configured, with the ports that were really bound, and never "all interfaces".
struct AdvertisedListeners {
  private(set) var listeners: [Listener] = []
  /// Those of the controller, for other nodes.
  private(set) var controllers: [Listener] = []
  private(set) var warnings: [String] = []

  /// - Parameter hostName: this machine's name if it can be resolved; asked only if it is needed.
  init(_ config: BrokerConfig, bound: [ListenerAddress], hostName: () -> String?) {
    for listener in config.advertisedListeners + config.cluster.advertisedControllerListeners {
      var advertised = listener
      if advertised.port == 0, let address = bound.first(where: { $0.name == listener.name }) {
        advertised.port = UInt16(clamping: address.port)
      }
      if ["", "0.0.0.0", "::"].contains(advertised.host) {
        advertised.host = hostName() ?? "127.0.0.1"
        self.warnings.append(
          "listener \(listener.name) is bound to all interfaces and advertised.listeners does not say how clients reach it: "
            + "they are told \(advertised.host):\(advertised.port)")
      }
      if config.cluster.controllerListenerNames.contains(advertised.name) {
        self.controllers.append(advertised)
      } else {
        self.listeners.append(advertised)
      }
    }
  }
}
