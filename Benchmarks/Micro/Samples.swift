import Compression
import Model
import NIOCore
import Records
import Wire

/// The bytes that the benchmarks work on: always the same.
enum Samples {
  static let recordCount = 585

  /// A batch of 64 KiB of records of 100 bytes.
  static func batch(_ codec: CompressionCodec = .none) -> ByteBuffer {
    var builder = RecordBatchBuilder(.init(codec: codec), capacity: 64 << 10)
    for index in 0..<self.recordCount {
      var value = Array("{\"id\":\(index),\"user\":\"user-\(index % 97)\",\"path\":\"/items/\(index * 7919 % 1009)\",\"note\":\"".utf8)
      while value.count < 98 { value.append(UInt8(ascii: "a") + UInt8(value.count * index % 26)) }
      value += Array("\"}".utf8)
      value.withUnsafeBytes { bytes in
        do { try builder.append(timestamp: Timestamp(1_700_000_000_000), key: nil, value: bytes) } catch { fatalError("\(error)") }
      }
    }
    do { return try builder.finish(using: Compressor()) } catch { fatalError("\(error)") }
  }

  /// A Produce request of one partition, without its frame's length and header.
  static func produceRequest(version: Int16) -> ByteBuffer {
    var partition = ProduceRequest.PartitionProduceData()
    partition.records = .bytes(self.batch())
    var topic = ProduceRequest.TopicProduceData()
    topic.name = "benchmark"
    topic.partitionData = [partition]
    var request = ProduceRequest()
    request.acks = 1
    request.timeoutMs = 30_000
    request.topicData = [topic]
    return request.encoded(version: version).buffer
  }

  /// A Fetch answer of `partitionCount` partitions whose records are sent from files.
  static func fetchResponse(partitionCount: Int) -> FetchResponse {
    var topic = FetchResponse.FetchableTopicResponse()
    topic.topic = "benchmark"
    topic.partitions = (0..<partitionCount).map { index in
      var data = FetchResponse.PartitionData()
      data.partitionIndex = Int32(index)
      data.highWatermark = 1_000_000
      data.records = .external(byteCount: 1 << 20)
      return data
    }
    var response = FetchResponse()
    response.responses = [topic]
    return response
  }
}
