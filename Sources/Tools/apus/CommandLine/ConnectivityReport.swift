import KafkaClient

/// Tells the person what becomes of the brokers while a command goes on.
enum ConnectivityReport {
  static func show(_ change: ConnectivityChange) { StandardError.notice(self.text(of: change)) }

  static func text(of change: ConnectivityChange) -> String {
    switch change {
    case .lost(let address, let reason): "Warning: lost broker \(address) (\(reason)); trying again until it is back"
    case .unreachable(let address, let reason):
      """
      Warning: cannot reach broker \(address) (\(reason)); trying again. The cluster names this address: if the broker runs, \
      its advertised.listeners should have one that this machine can connect to
      """
    case .restored(let address): "Note: broker \(address) is back"
    }
  }
}
