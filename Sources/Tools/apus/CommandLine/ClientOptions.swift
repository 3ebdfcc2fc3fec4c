import ArgumentParser
import KafkaClient

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Where the cluster is: shared by every client command.
struct ClientOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Brokers to start from, with commas between them. Default: $APUS_BOOTSTRAP, or else 127.0.0.1:9092.", valueName: "host:port"))
  var bootstrap: String?

  @Option(name: .long, help: ArgumentHelp("How long to wait for the cluster, such as 10s or 2m.", valueName: "duration"))
  var timeout: DurationArgument = DurationArgument(.seconds(30))

  func validate() throws {
    // A bad address is a mistake on the command line, so it is told as one.
    do { _ = try self.configuration() } catch let error as KafkaError { throw ValidationError("\(error)") }
  }

  func configuration() throws -> ClientConfiguration {
    let address = self.bootstrap ?? getenv("APUS_BOOTSTRAP").map { String(cString: $0) } ?? "127.0.0.1:9092"
    var configuration = try ClientConfiguration(bootstrap: address, clientID: "apus-cli")
    configuration.operationTimeout = self.timeout.duration
    // A broker that is just starting gets a moment; one that is not there should be told at once.
    configuration.unreachableTimeout = min(.seconds(3), self.timeout.duration)
    configuration.requestTimeout = min(configuration.requestTimeout, self.timeout.duration)
    configuration.connectTimeout = min(configuration.connectTimeout, self.timeout.duration)
    return configuration
  }
}
