import Environment

/// A request that waits for something to happen in a partition, and its place there.
enum Waiter<Env: Environment>: Equatable, Sendable {
  case produce(PendingProduce<Env>, Int)
  case fetch(PendingFetch<Env>, Int)
  /// A follower's fetch session, which goes on waiting from one request to the next.
  case follower(FollowerSession<Env>, Int)
  case deletion(PendingDeletion<Env>, Int)

  static func == (a: Self, b: Self) -> Bool {
    switch (a, b) {
    case (.produce(let x, let i), .produce(let y, let j)): x === y && i == j
    case (.fetch(let x, let i), .fetch(let y, let j)): x === y && i == j
    case (.follower(let x, let i), .follower(let y, let j)): x === y && i == j
    case (.deletion(let x, let i), .deletion(let y, let j)): x === y && i == j
    case (.produce, _), (.fetch, _), (.follower, _), (.deletion, _): false
    }
  }
}
