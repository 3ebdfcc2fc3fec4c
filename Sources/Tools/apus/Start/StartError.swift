import ArgumentParser

/// Why a node does not start: what is printed, and the exit code (those of `sysexits.h`).
struct StartError: Error {
  enum Cause: Int32 {
    /// A listener cannot be opened.
    case address = 69
    /// The data directory cannot be used.
    case storage = 74
    /// The configuration is wrong.
    case configuration = 78
    /// Anything else.
    case other = 70
  }

  let cause: Cause
  let message: String

  init(_ cause: Cause, _ message: String) { (self.cause, self.message) = (cause, message) }
}
