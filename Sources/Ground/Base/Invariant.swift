/// Stops the process when something we rely on is false. Stays on in release builds: a broker that is wrong must not go on.
@inline(__always)
package func invariant(
  _ condition: @autoclosure () -> Bool, _ message: @autoclosure () -> String,
  file: StaticString = #fileID, line: UInt = #line
) {
  if !condition() { fatalError("invariant broken: \(message())", file: file, line: line) }
}
