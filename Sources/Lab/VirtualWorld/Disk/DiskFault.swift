package import Environment

/// One call of a faulty disk that is to go wrong.
package struct DiskFault: Hashable, Sendable {
  package enum Operation: String, Hashable, Sendable { case open, write, truncate, sync, syncDirectory, rename, remove }
  package var operation: Operation
  package var kind: DiskError.Kind
  /// Only calls on paths that end with this.
  package var pathSuffix: String
  /// How many such calls go well first.
  package var after: Int

  package init(_ operation: Operation, _ kind: DiskError.Kind, pathSuffix: String = "", after: Int = 0) {
    (self.operation, self.kind, self.pathSuffix, self.after) = (operation, kind, pathSuffix, after)
  }
}

/// What becomes, at a loss of power, of the writes to a file that were not synced.
package enum LossMode: Int, Hashable, Sendable, CaseIterable {
  /// None of them survives.
  case all
  /// All of them survive: the disk was quick.
  case none
  /// The first ones survive, and the last of those only up to some byte.
  case torn
  /// Each sector of 512 bytes survives or not, for itself; what is missing reads as zeros or as it was before.
  case scattered
}
