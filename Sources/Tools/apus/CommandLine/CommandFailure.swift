/// Why a command could not do what it was asked, where the command line was not what was wrong: exit code 1.
struct CommandFailure: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}
