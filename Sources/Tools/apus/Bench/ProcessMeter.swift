#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What another process on this machine has used, as /proc tells it (proc(5)). Linux only.
struct ProcessMeter {
  struct Reading: Hashable {
    /// User and system time of all threads, those that ended included.
    var cpuSeconds: Double
    /// The most memory it ever had resident, in bytes.
    var peakResidentByteCount: Int64
  }

  let pid: Int

  /// Nil if there is no such process, or no /proc.
  func read() -> Reading? {
    guard let stat = try? Descriptor.readAll("/proc/\(self.pid)/stat", byteCountMax: 65536),
      let status = try? Descriptor.readAll("/proc/\(self.pid)/status", byteCountMax: 1 << 20)
    else { return nil }
    let (statText, statusText) = (String(decoding: stat, as: UTF8.self), String(decoding: status, as: UTF8.self))
    return Self.parse(stat: statText, status: statusText, ticks: sysconf(CInt(_SC_CLK_TCK)))
  }

  /// Fields 14 and 15 of `stat` are ticks in user and system mode; the command name before them may hold anything, even brackets.
  static func parse(stat: String, status: String, ticks: Int) -> Reading? {
    guard let bracket = stat.lastIndex(of: ")") else { return nil }
    let fields = stat[stat.index(after: bracket)...].split(separator: " ")
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return nil }
    let peak = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }?.split { $0 == " " || $0 == "\t" }
    guard let peak, peak.count >= 2, let kilobytes = Int64(peak[1]) else { return nil }
    return Reading(cpuSeconds: (user + system) / Double(ticks), peakResidentByteCount: kilobytes * 1024)
  }

  /// CPU seconds of this process so far.
  static func ownCPUSeconds() -> Double {
    var usage = rusage()
    #if canImport(Glibc)
      getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    #else
      getrusage(RUSAGE_SELF, &usage)
    #endif
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }
}
