import Glibc

@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
  _ argumentCount: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// libFuzzer's driver with one of our targets, named by the environment: libFuzzer takes all arguments for itself.
@main
struct Main {
  static let target: FuzzTarget = {
    let name = getenv("APUS_FUZZ").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
      print("APUS_FUZZ must name a target: \(FuzzTarget.allCases.map(\.rawValue).joined(separator: ", "))")
      exit(64)
    }
    return target
  }()

  static func main() {
    _ = self.target
    var argumentCount = CommandLine.argc
    var arguments = CommandLine.unsafeArgv
    exit(runFuzzer(&argumentCount, &arguments) { data, count in
      Main.target.run(UnsafeRawBufferPointer(start: data, count: count))
      return 0
    })
  }
}
