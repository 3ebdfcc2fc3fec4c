import Environment
import Synchronization

/// Makes the names in a directory durable that several share.
///
/// A sync that fails may have lost the names of all of them, and only one is told. The next sync, whoever asks for it, changes the
/// directory first, so that it is written anew.
final class DirectoryNames<Disk: DiskPort>: Sendable {
  let path: String
  private let disk: Disk
  /// Held while the directory is synced, so that nobody is told of success while another's failure is on its way.
  private let isInDoubt = Mutex(false)

  init(_ path: String, on disk: Disk) { (self.path, self.disk) = (path, disk) }

  /// What another process last synced may have failed.
  func doubt() { self.isInDoubt.withLock { $0 = true } }

  /// Blocks.
  func sync() throws(DiskError) {
    let result = self.isInDoubt.withLock { isInDoubt in
      Result { () throws(DiskError) in
        if isInDoubt { try TailRewrite.touch(self.path, on: self.disk) }
        do throws(DiskError) { try self.disk.syncDirectory(self.path) } catch {
          if !error.isTransient { isInDoubt = true }
          throw error
        }
        isInDoubt = false
      }
    }
    try result.get()
  }
}
