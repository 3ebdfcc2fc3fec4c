/// wiregen: generates the Swift of Kafka's messages from schema files. It runs at build time, through `WirePlugin`.
///
///     wiregen SCHEMA OUTPUT                  the messages of one schema
///     wiregen --catalog OUTPUT SCHEMA...     `MetadataRecord` and `WireCatalog`, which need all schemas
///
/// A schema file describes one API (request and response) or one stored record:
///
///     # A comment goes to the end of its line.
///     api 18 ApiVersions            or: metadata <record type> <Name>, record <Name>
///     versions 0-4                  the versions that exist
///     flexible 3+                   the first version with compact lengths and tagged fields (KIP-482), or none
///
///     request {                     request and response for an api, fields for a record
///       ClientSoftwareName: string 3+ ignorable
///     }
///     response {
///       struct Range { ... }        a structure that several fields of this message share, each on lines of its own
///       ErrorCode: error
///       ApiKeys: [ApiVersion] {     a structure of its own, defined where it is used
///         ApiKey: int16
///       }
///       Epoch: int64 3+ tag 1 = -1
///     }
///
/// A field is `Name: type`, one a line, in the order of the bytes. Types: bool int8 int16 int32 int64 uint16 uint32 float64 error (an int16
/// with Kafka's error codes) string uuid bytes records, the name of a structure, or `[type]`. After the type, in any order:
/// - `?` directly behind it: may be null wherever the field is; or `nullable N+`: null only from there on
/// - `N`, `N-M` or `N+`: the versions that have the field; without it, all versions of what encloses it
/// - `tag N`: a tagged field, written only if it is not the default
/// - `ignorable`: a version without the field may drop its value without harm (a fact for readers: the encoder always drops it)
/// - `mirrors`, `mirrors A`, `mirrors A.B, C` or `mirrors request`, in a response: what it repeats of a request that is refused as a whole
/// - `= value`: the default, where it is not 0, false, empty or absent: a number, true, null or "text"
#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

func fail(_ message: String) -> Never {
  let line = message + "\n"
  _ = write(STDERR_FILENO, line, line.utf8.count)
  exit(1)
}

func readFile(_ path: String) -> String {
  guard let file = fopen(path, "rb") else { fail("\(path): \(String(cString: strerror(errno)))") }
  defer { fclose(file) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 65_536)
  while true {
    let count = fread(&chunk, 1, chunk.count, file)
    if count == 0 { break }
    bytes += chunk[..<count]
  }
  if ferror(file) != 0 { fail("\(path): cannot be read") }
  guard let text = String(validating: bytes, as: UTF8.self) else { fail("\(path):1: error: not UTF-8") }
  return text
}

func writeFile(_ path: String, _ text: String) {
  guard let file = fopen(path, "wb") else { fail("\(path): \(String(cString: strerror(errno)))") }
  let bytes = Array(text.utf8)
  let written = fwrite(bytes, 1, bytes.count, file)
  if fclose(file) != 0 || written != bytes.count { fail("\(path): cannot be written") }
}

func parseFile(_ path: String) -> Schema {
  do { return try SchemaParser.parse(readFile(path), file: path) } catch { fail("\(error)") }
}

/// The last component of a path.
func baseName(_ path: String) -> String { String(path.split(separator: "/").last ?? "") }

func run(_ arguments: [String]) {
  if arguments.first == "--catalog", arguments.count >= 2 {
    let schemas = arguments.dropFirst(2).map { (schema: parseFile($0), file: baseName($0)) }
    do { writeFile(arguments[1], try CatalogEmitter.emit(schemas)) } catch { fail("\(error)") }
  } else if arguments.count == 2 {
    let schema = parseFile(arguments[0])
    do { writeFile(arguments[1], try SwiftEmitter.emit(schema, file: baseName(arguments[0]))) } catch { fail("\(error)") }
  } else {
    fail("usage: wiregen SCHEMA OUTPUT | wiregen --catalog OUTPUT SCHEMA...")
  }
}

run(Array(CommandLine.arguments.dropFirst()))
