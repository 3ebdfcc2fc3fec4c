import Base
import Environment
import Metadata
import Model
import NIOCore

// What the quorum has committed becomes the image.
extension ControllerDriver {
  func takeCommitted(upTo end: Offset, _ state: inout State, _ aftermath: inout Aftermath) {
    if state.active != nil { return self.publishDecided(upTo: end, &state, &aftermath) }
    guard state.failure == nil, state.position < end, var machine = state.standby else { return }
    // Taken out of the state, so that nothing of it is copied.
    state.standby = nil
    var delta = MetadataDelta()
    var (recordCount, byteCount) = (0, 0)
    do throws(MetadataLogReadError<ControllerLoadError>) {
      try self.quorum.read(from: state.position, upTo: end) { (offset, value) throws(ControllerLoadError) in
        let change: MetadataChange
        do throws(MetadataRecordError) { change = try MetadataChange(decoding: value) } catch { throw .record(at: offset, error) }
        do throws(ReplayError) { try machine.replay(change, at: offset, into: &delta) } catch { throw .replay(at: offset, error) }
        // Nobody asks what changed since the log began.
        if !state.isLoaded { delta = MetadataDelta() }
        recordCount += 1
        byteCount += value.readableBytes
      }
    } catch {
      switch error {
      case .log(let error): return self.fail(.log(error), &state, &aftermath)
      case .reader(let error): return self.fail(error, &state, &aftermath)
      }
    }
    let (image, changed) = (machine.image, delta)
    state.standby = machine
    state.image = image
    state.position = end
    state.snapshot.bytes += Int64(byteCount)
    if state.isLoaded {
      if changed.featuresChanged, let error = Self.unsupportedVersion(of: image) { return self.fail(error, &state, &aftermath) }
      if recordCount > 0 { aftermath.append { self.publish(image, changed) } }
    } else {
      state.recordCount += recordCount
    }
    self.activateIfReady(&state, &aftermath)
    self.takeSnapshotIfDue(&state)
  }

  /// Takes the state from a snapshot: this node's own after a start, or the leader's where records are no longer there.
  func load(snapshotAt end: Offset, _ epoch: LeaderEpoch, _ state: inout State, _ aftermath: inout Aftermath) {
    guard state.failure == nil, end > state.position else { return }
    var changes: [MetadataChange] = []
    let image: MetadataImage
    do throws(MetadataLogReadError<ControllerLoadError>) {
      try self.quorum.readSnapshot(endOffset: end, epoch: epoch) { (value) throws(ControllerLoadError) in
        do throws(MetadataRecordError) { changes.append(try MetadataChange(decoding: value)) } catch {
          throw .snapshotRecord(number: changes.count, of: end, error)
        }
      }
      do throws(ReplayError) {
        image = try MetadataImage(clusterID: state.image.clusterID, snapshot: changes, offset: end + -1)
      } catch { throw .reader(.snapshotReplay(of: end, error)) }
    } catch {
      switch error {
      case .log(let error): return self.fail(.log(error), &state, &aftermath)
      case .reader(let error): return self.fail(error, &state, &aftermath)
      }
    }
    if let error = Self.unsupportedVersion(of: image) { return self.fail(error, &state, &aftermath) }
    let before = state.image
    state.standby = self.machine(of: image, keeping: state.standby)
    state.image = image
    state.position = end
    (state.snapshot.bytes, state.snapshot.end) = (0, end)
    if state.isLoaded {
      aftermath.append {
        self.listener.controllerEvent(.snapshotLoaded(endOffset: end))
        self.publish(image, MetadataDelta(from: before, to: image))
      }
    }
    self.activateIfReady(&state, &aftermath)
  }

  /// A machine for what is committed. Of the old one only the suspicions are of use.
  func machine(of image: MetadataImage, keeping old: ControllerMachine?) -> ControllerMachine {
    var machine = ControllerMachine(image: image, settings: self.setup.settings, seed: self.seed)
    if let old { machine.sessions = old.sessions }
    #if APUS_MUTANTS
      machine.mutant = self.environment.mutant.flatMap { ControllerMutant(rawValue: $0) }
    #endif
    return machine
  }

  static func unsupportedVersion(of image: MetadataImage) -> ControllerLoadError? {
    guard let level = image.featureLevel(MetadataVersion.feature), !MetadataVersion.supported.versions.contains(level) else { return nil }
    return .metadataVersion(level)
  }

  /// The node knows what it did not know when it started: the first that anybody hears of the metadata.
  func finishLoading(_ state: inout State, _ aftermath: inout Aftermath) {
    guard state.failure == nil, !state.isLoaded else { return }
    if let error = Self.unsupportedVersion(of: state.image) { return self.fail(error, &state, &aftermath) }
    state.isLoaded = true
    let (image, recordCount, loaded) = (state.image, state.recordCount, state.whenLoaded)
    state.whenLoaded = nil
    aftermath.append {
      self.listener.controllerEvent(.loaded(recordCount: recordCount, image: image))
      self.publish(image, MetadataDelta(everythingIn: image))
      loaded?(.success(image))
    }
  }
}
