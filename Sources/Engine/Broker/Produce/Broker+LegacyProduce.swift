import Environment
import Model
import NIOCore
import Wire

// Produce v0 to v2, which Kafka 4 no longer serves (KIP-896) and yet lists, so that a client may come with it.
extension Broker {
  /// Answers each partition with UNSUPPORTED_VERSION, in the form of its version.
  func refuseLegacyProduce(_ exchange: Exchange<Env.Disk.File>, _ reader: WireReader) {
    do {
      let request = try LegacyProduceRequest(decoding: reader)
      if request.acks == 0 { return self.refuse(exchange, "Produce v\(exchange.version) with acks=0 is not served") }
      exchange.respond { writer in request.encodeRefusal(into: &writer, version: exchange.version) }
    } catch {
      self.refuse(exchange, "Produce v\(exchange.version): \(error)")
    }
  }
}

/// What of a Produce request before v3 is needed to refuse it.
private struct LegacyProduceRequest {
  var acks: Int16
  var topics: [(name: String, partitions: [Int32])] = []

  init(decoding buffer: WireReader) throws(WireError) {
    var reader = buffer
    self.acks = try reader.readInteger("ProduceRequest.acks")
    _ = try reader.readInteger("ProduceRequest.timeoutMs", as: Int32.self)
    for _ in 0..<(try Self.count(&reader, "ProduceRequest.topicData")) {
      let name = try reader.readString("TopicProduceData.name", flexible: false)
      var partitions: [Int32] = []
      for _ in 0..<(try Self.count(&reader, "TopicProduceData.partitionData")) {
        partitions.append(try reader.readInteger("PartitionProduceData.index"))
        _ = try reader.readNullableBytes("PartitionProduceData.records", flexible: false)
      }
      self.topics.append((name, partitions))
    }
    try reader.finish("end of message")
  }

  /// The length of an array. It is not believed: each element read takes bytes, of which there are only so many.
  private static func count(_ reader: inout WireReader, _ field: StaticString) throws(WireError) -> Int32 {
    max(0, try reader.readInteger(field))
  }

  /// v0: index, error, offset; v1 adds the throttle time at the end, v2 the append time of each partition.
  func encodeRefusal(into writer: inout WireWriter, version: Int16) {
    writer.writeInteger(Int32(self.topics.count))
    for topic in self.topics {
      writer.writeString(topic.name, flexible: false)
      writer.writeInteger(Int32(topic.partitions.count))
      for partition in topic.partitions {
        writer.writeInteger(partition)
        writer.writeErrorCode(.unsupportedVersion)
        writer.writeInteger(Int64(-1))
        if version >= 2 { writer.writeInteger(Int64(-1)) }
      }
    }
    if version >= 1 { writer.writeInteger(Int32(0)) }
  }
}
