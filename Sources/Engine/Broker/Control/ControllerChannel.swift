package import Peers
package import Wire

/// Requests of this broker to the active controller, wherever in the cluster it is.
///
/// Nothing is tried again here beyond looking for the controller: whoever asks has patience of its own. An answer that says
/// NOT_CONTROLLER is passed on after the channel has noted it, so that the next request goes elsewhere.
package protocol ControllerChannel: Sendable {
  /// `complete` runs exactly once, on any thread, with no lock held.
  func call<Request: ApiRequest>(
    _ request: Request, timeout: Duration, _ complete: @escaping @Sendable (Result<Request.Response, PeerError>) -> Void)
}
