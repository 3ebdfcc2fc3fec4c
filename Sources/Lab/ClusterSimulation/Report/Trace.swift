import Base
import Broker
import Model

/// The last things that happened in a run, kept as values: they become text only where somebody reads them.
package struct Trace: Sendable {
  /// Who an entry is about.
  enum Subject: Sendable, CustomStringConvertible {
    case node(Int)
    case client(String)
    case plan

    var description: String {
      switch self {
      case .node(let id): "node \(id)"
      case .client(let name): name
      case .plan: "plan"
      }
    }
  }
  enum Event: Sendable, CustomStringConvertible {
    /// Something was done to the cluster, or put right again.
    case fault(String)
    case broker(BrokerEvent)
    case lifeBegan(Int)
    case ended(String)
    case sent(RecordSpan, TopicPartition, to: NodeID, attempt: Int)
    case acknowledged(RecordSpan, TopicPartition, Offset, acks: Int16)
    case refused(RecordSpan, TopicPartition, String)
    case read(TopicPartition, from: Offset, to: Offset, by: NodeID)
    case note(String)

    var description: String {
      switch self {
      case .fault(let text), .note(let text), .ended(let text): text
      case .broker(let event): "\(event)"
      case .lifeBegan(let number): "life \(number) begins"
      case .sent(let span, let partition, let node, let attempt): "sends \(span) to \(partition) on node \(node), attempt \(attempt)"
      case .acknowledged(let span, let partition, let offset, let acks): "\(span) acknowledged in \(partition) at \(offset), acks=\(acks)"
      case .refused(let span, let partition, let why): "\(span) not acknowledged in \(partition): \(why)"
      case .read(let partition, let from, let to, let node): "reads \(partition) from \(from) to \(to) on node \(node)"
      }
    }
  }
  struct Entry: Sendable {
    var time: Instant
    var subject: Subject
    var event: Event
  }

  private let capacity: Int
  private var ring: [Entry] = []
  private var next = 0

  init(capacity: Int) { self.capacity = max(1, capacity) }

  mutating func record(_ event: Event, _ subject: Subject, at time: Instant) {
    let entry = Entry(time: time, subject: subject, event: event)
    if self.ring.count < self.capacity { return self.ring.append(entry) }
    self.ring[self.next] = entry
    self.next = (self.next + 1) % self.capacity
  }

  /// The oldest first, one line each: seconds of virtual time, who, what.
  package var lines: [String] {
    (self.ring[self.next...] + self.ring[..<self.next]).map { entry in
      let microseconds = entry.time.nanoseconds / 1000
      let fraction = "\(microseconds % 1_000_000)"
      let time = "\(microseconds / 1_000_000)." + String(repeating: "0", count: 6 - fraction.count) + fraction
      let subject = "\(entry.subject)"
      let padding = String(repeating: " ", count: max(0, 12 - subject.count))
      return "\(String(repeating: " ", count: max(0, 10 - time.count)))\(time)  \(subject)\(padding)  \(entry.event)"
    }
  }
}
