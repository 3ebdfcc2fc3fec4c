package import Model

/// Why the metadata log could not do what was asked: a sentence for people, and the code a client is given.
package struct MetadataLogError: Error, Sendable, Hashable, CustomStringConvertible {
  package var code: ErrorCode
  package var reason: String
  package init(_ reason: String, code: ErrorCode = .kafkaStorageError) { (self.reason, self.code) = (reason, code) }
  package var description: String { self.reason }
}

/// Either the log could not be read, or whoever read it threw.
package enum MetadataLogReadError<Reader: Error>: Error {
  case log(MetadataLogError)
  case reader(Reader)
}
