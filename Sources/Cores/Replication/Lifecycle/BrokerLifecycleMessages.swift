import Base
package import Model

/// How patient a broker is with its cluster.
package struct BrokerLifecycleSettings: Sendable, Hashable {
  /// `broker.session.timeout.ms`, where the controller does not say what it applies.
  package var session: Duration
  /// `broker.heartbeat.interval.ms`
  package var heartbeatInterval: Duration
  /// `initial.broker.registration.timeout.ms`
  package var registrationTimeout: Duration
  /// By how many thousandths a clock may be wrong (`LeaseRule`).
  package var driftMaxPerMille: Int64 = 10
  /// Between a request that failed and the next, doubled with each in a row.
  package var retryBackoff: Duration = .milliseconds(20)
  package var retryBackoffMax: Duration = .milliseconds(500)
  /// Between two heartbeats of a broker that waits to be let go.
  package var leavingInterval: Duration = .milliseconds(20)
  /// How long a controlled shutdown may take.
  package var leavingTimeout: Duration = .seconds(30)
  /// How long a broker that wants to go waits for any controller to be heard of.
  package var leavingSilenceMax: Duration = .seconds(3)
  /// Heartbeats whose outcome is not known; with more, the next waits.
  package var beatsInFlightMax = 8
  /// How long a broker whose log directory failed waits for the controller to have heard of it.
  package var failureNoticeMax: Duration = .milliseconds(500)

  package init(session: Duration, heartbeatInterval: Duration, registrationTimeout: Duration) {
    (self.session, self.heartbeatInterval) = (session, heartbeatInterval)
    self.registrationTimeout = registrationTimeout
  }
}

/// Where a broker stands in its cluster.
package enum BrokerPhase: Sendable, Hashable {
  case idle
  case registering
  /// Registered; the applied metadata does not know of it yet.
  case catchingUp
  case loading
  /// Ready, and waits to be unfenced.
  case fenced
  case unfenced
  /// In controlled shutdown.
  case leaving
  case left
  case failed
}

/// What a broker's membership is told.
package enum BrokerLifecycleInput: Sendable, Hashable {
  /// The process may take part.
  case started
  case registrationEnded(UInt64, RegistrationOutcome)
  case heartbeatEnded(UInt64, BeatOutcome)
  /// The partitions follow the metadata up to here.
  /// - knownEpoch: the epoch of this broker's registration in it, if that is of this incarnation.
  case metadataApplied(Offset, knownEpoch: BrokerEpoch?)
  /// What `load` asked for is done.
  case partitionsLoaded
  /// Log directories failed, and with them everything that this broker holds (KIP-858).
  case directoriesFailed([KafkaUUID])
  /// There is another active controller, or another way to it.
  case controllerChanged
  /// The process wants to end; `isControlled`: others are to take over first.
  case shutDown(isControlled: Bool)
  case timerFired
}

/// What became of a BrokerRegistration.
package enum RegistrationOutcome: Sendable, Hashable {
  case registered(BrokerEpoch)
  case refused(ErrorCode)
  case noAnswer
}

/// What the active controller says to a heartbeat (KIP-631).
package struct HeartbeatAnswer: Sendable, Hashable {
  package var isFenced: Bool
  package var shouldShutDown: Bool
  /// The session that the controller applies; nil if it does not tell.
  package var session: Duration?
  package init(isFenced: Bool, shouldShutDown: Bool = false, session: Duration? = nil) {
    (self.isFenced, self.shouldShutDown, self.session) = (isFenced, shouldShutDown, session)
  }
}

/// What became of a BrokerHeartbeat.
package enum BeatOutcome: Sendable, Hashable {
  case answered(HeartbeatAnswer)
  case refused(ErrorCode)
  case noAnswer
}

/// A heartbeat to be sent (KIP-631).
package struct BrokerLifecycleHeartbeat: Sendable, Hashable {
  package var number: UInt64
  package var epoch: BrokerEpoch
  package var metadataOffset: Offset
  package var wantsFence: Bool
  package var wantsShutdown: Bool
  /// Log directories that failed since the broker registered.
  package var offlineDirectories: [KafkaUUID]
  package init(
    number: UInt64, epoch: BrokerEpoch, metadataOffset: Offset, wantsFence: Bool, wantsShutdown: Bool,
    offlineDirectories: [KafkaUUID] = []
  ) {
    (self.number, self.epoch, self.metadataOffset) = (number, epoch, metadataOffset)
    (self.wantsFence, self.wantsShutdown, self.offlineDirectories) = (wantsFence, wantsShutdown, offlineDirectories)
  }
}

/// What a broker's membership wants done.
package enum BrokerLifecycleEffect: Sendable, Hashable {
  /// Ask the active controller to register this broker.
  case register(UInt64)
  case heartbeat(BrokerLifecycleHeartbeat)
  case registered(BrokerEpoch)
  /// Load the partitions as the metadata applied by now has them.
  case load
  /// Unfenced for the first time: the broker serves.
  case serving
  /// `isRevived`: it was not live, and is now, so that partitions which wait for it are to be told.
  case leaseChanged(BrokerLease, isRevived: Bool)
  case event(BrokerLifecycleEvent)
  /// The process may end.
  case left(BrokerLeaving)
  /// The process cannot be a member of this cluster.
  case failed(BrokerLifecycleFailure)
}

/// Why a broker is not registered yet.
package enum RegistrationRefusal: Sendable, Hashable {
  case error(ErrorCode)
  case noAnswer
}

/// What people should know of a broker's membership.
package enum BrokerLifecycleEvent: Sendable, Hashable {
  /// Once for each reason in a row.
  case registrationDelayed(RegistrationRefusal)
  /// The controller does not know this broker under its epoch any more; it registers anew.
  case registrationLost(ErrorCode)
  case heartbeatRefused(ErrorCode)
  case fenced
  case unfenced
}

/// How a broker left its cluster.
package enum BrokerLeaving: Sendable, Hashable {
  /// The controller let it go: it leads nothing, and everybody has read of it.
  case allowed
  /// It did not within the time for it.
  case timedOut
  /// No controller was heard of.
  case noController
  case notRegistered
  /// A controlled shutdown was not wanted.
  case unasked
}

/// Why a broker cannot be a member.
package enum BrokerLifecycleFailure: Error, Sendable, Hashable {
  case registrationRefused(ErrorCode)
  /// `initial.broker.registration.timeout.ms` has passed.
  case registrationTimedOut(RegistrationRefusal)
  /// There is no log directory left to serve from.
  case directoriesFailed
}
