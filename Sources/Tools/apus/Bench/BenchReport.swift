import JSON

/// The result of one run, for people and for programs.
struct BenchReport {
  var name: String
  var parameters: [(String, JSONValue)]
  var records: Int
  /// Record batches as they went over the wire.
  var bytes: Int
  var seconds: Double
  var latency: LatencyHistogram
  /// What one latency is: `request`, or `request from its intended time`.
  var latencyOf: String
  var clientCPUSeconds: Double
  /// Of the broker, if its process id was given.
  var brokerCPUSeconds: Double?
  var brokerPeakByteCount: Int64?

  private var recordsPerSecond: Double { Double(self.records) / max(self.seconds, 1e-9) }
  private var megabytesPerSecond: Double { Double(self.bytes) / 1e6 / max(self.seconds, 1e-9) }
  private func perGigabyte(_ seconds: Double) -> Double { self.bytes == 0 ? 0 : seconds / (Double(self.bytes) / 1e9) }

  var lines: [String] {
    var lines = [
      "\(self.name)  \(Readable.count(self.records)) records, \(Readable.bytes(Int64(self.bytes))) in \(Readable.fixed(self.seconds, 3)) s",
      "  throughput    \(Readable.count(Int(self.recordsPerSecond))) records/s, \(Readable.fixed(self.megabytesPerSecond, 1)) MB/s",
      """
        latency (ms)  p50 \(Readable.fixed(self.latency.percentile(50), 3))  p99 \(Readable.fixed(self.latency.percentile(99), 3))  \
      p99.9 \(Readable.fixed(self.latency.percentile(99.9), 3))  max \(Readable.fixed(self.latency.maxMilliseconds, 3))  \
      (\(Readable.count(Int(self.latency.count))) requests, \(self.latencyOf))
      """,
      "  client        \(Readable.fixed(self.perGigabyte(self.clientCPUSeconds), 2)) CPU s/GB",
    ]
    if let cpu = self.brokerCPUSeconds, let peak = self.brokerPeakByteCount {
      lines.append("""
          broker        \(Readable.fixed(self.perGigabyte(cpu), 2)) CPU s/GB, \(Readable.fixed(cpu, 2)) CPU s, \
        peak RSS \(Readable.bytes(peak))
        """)
    }
    return lines
  }

  var json: JSONValue {
    func rounded(_ value: Double) -> JSONValue { .number((value * 1e6).rounded() / 1e6) }
    var members: [(String, JSONValue)] = [("benchmark", .string(self.name))]
    members += self.parameters
    members += [
      ("records", .integer(Int64(self.records))), ("bytes", .integer(Int64(self.bytes))), ("seconds", rounded(self.seconds)),
      ("records_per_second", rounded(self.recordsPerSecond)), ("mb_per_second", rounded(self.megabytesPerSecond)),
      ("requests", .integer(Int64(self.latency.count))), ("latency_of", .string(self.latencyOf)),
      ("p50_ms", rounded(self.latency.percentile(50))), ("p99_ms", rounded(self.latency.percentile(99))),
      ("p999_ms", rounded(self.latency.percentile(99.9))), ("max_ms", rounded(self.latency.maxMilliseconds)),
      ("client_cpu_seconds_per_gb", rounded(self.perGigabyte(self.clientCPUSeconds))),
    ]
    if let cpu = self.brokerCPUSeconds, let peak = self.brokerPeakByteCount {
      members += [
        ("broker_cpu_seconds", rounded(cpu)), ("broker_cpu_seconds_per_gb", rounded(self.perGigabyte(cpu))),
        ("broker_peak_rss_bytes", .integer(peak)),
      ]
    }
    return .object(members)
  }
}
