#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The process's data output: gathered, and written in large pieces. When the reader at the other end of a pipe has gone, the process
/// ends quietly, as filters do.
struct StandardOutput: ~Copyable {
  private static let flushByteCount = 1 << 18
  private var buffer: [UInt8] = []
  private let descriptor: CInt

  init(descriptor: CInt = 1) {
    self.descriptor = descriptor
    self.buffer.reserveCapacity(Self.flushByteCount + 65536)
    // A broken pipe is found by the failing write instead.
    signal(SIGPIPE, SIG_IGN)
  }

  deinit { Self.write(self.buffer, to: self.descriptor) }

  /// Lets `body` add bytes, then writes if much has been gathered.
  mutating func append(_ body: (inout [UInt8]) -> Void) {
    body(&self.buffer)
    if self.buffer.count >= Self.flushByteCount { self.flush() }
  }

  mutating func line(_ text: String) {
    self.append {
      $0.append(contentsOf: text.utf8)
      $0.append(UInt8(ascii: "\n"))
    }
  }

  mutating func flush() {
    Self.write(self.buffer, to: self.descriptor)
    self.buffer.removeAll(keepingCapacity: true)
  }

  private static func write(_ bytes: [UInt8], to descriptor: CInt) {
    bytes.withUnsafeBytes { bytes in
      do throws(SystemFailure) {
        try Descriptor.writeAll(bytes, to: descriptor)
      } catch {
        if error.number == EPIPE { exit(0) }
        StandardError.line("Error: cannot write the output: \(error)")
        exit(1)
      }
    }
  }
}

/// What is meant for the person, never data.
enum StandardError {
  static let isTerminal = isatty(2) == 1

  static func text(_ text: String) {
    var text = text
    // There is nobody left to tell if this fails.
    text.withUTF8 { try? Descriptor.writeAll(UnsafeRawBufferPointer($0), to: 2) }
  }

  static func line(_ text: String) { Self.text(text + "\n") }

  /// A line amid the work, in the place of the progress line if there is one.
  static func notice(_ text: String) { Self.line(self.isTerminal ? "\r\u{1B}[K" + text : text) }
}

/// A line on the terminal that says how far it is. Shown only to people: nothing when stderr is a file or a pipe.
struct ProgressLine {
  private let verb: String
  private let start = ContinuousClock.now
  private var shown: ContinuousClock.Instant
  private var shownCount = 0
  private var hasShown = false

  init(verb: String) {
    self.verb = verb
    self.shown = self.start
  }

  /// Shows the line again if enough time has passed.
  mutating func update(records: Int, bytes: Int) {
    guard StandardError.isTerminal else { return }
    let now = ContinuousClock.now
    let elapsed = (now - self.shown) / .seconds(1)
    guard elapsed >= 0.5 else { return }
    let rate = Double(records - self.shownCount) / elapsed
    (self.shown, self.shownCount, self.hasShown) = (now, records, true)
    StandardError.text("""
      \r\u{1B}[K\(self.verb) \(Readable.count(records)) records, \(Readable.bytes(Int64(bytes))), \
      \(Readable.count(Int(rate))) records/s
      """)
  }

  /// Replaces the line by the total.
  func finish(records: Int, bytes: Int) {
    guard StandardError.isTerminal else { return }
    let elapsed = max((ContinuousClock.now - self.start) / .seconds(1), 1e-6)
    StandardError.line("""
      \(self.hasShown ? "\r\u{1B}[K" : "")\(self.verb) \(Readable.count(records)) records, \(Readable.bytes(Int64(bytes))) \
      in \(Readable.fixed(elapsed, 1)) s, \(Readable.count(Int(Double(records) / elapsed))) records/s
      """)
  }
}
