/// The candidate that takes the fewest single-character edits to become `name`, for "did you mean": nil where nothing is near.
/// Ties go to the first candidate.
package func nearestMatch(to name: String, among candidates: some Sequence<String>) -> String? {
  let wanted = Array(name.lowercased().utf8)
  // A third of the name wrong is no longer a slip of the pen; of a short name two letters already are.
  var best: (name: String, distance: Int)?
  var limit = wanted.count <= 4 ? 1 : max(2, wanted.count / 3)
  for candidate in candidates {
    guard let distance = editDistance(wanted, Array(candidate.utf8), limit: limit) else { continue }
    if best == nil || distance < best!.distance {
      best = (candidate, distance)
      limit = distance
    }
  }
  return best?.name
}

/// Levenshtein's distance, or nil if it is more than `limit`.
private func editDistance(_ a: [UInt8], _ b: [UInt8], limit: Int) -> Int? {
  if abs(a.count - b.count) > limit { return nil }
  var row = Array(0...b.count)
  for i in 0..<a.count {
    var diagonal = row[0]
    row[0] = i + 1
    var smallest = row[0]
    for j in 0..<b.count {
      let above = row[j + 1]
      row[j + 1] = a[i] == b[j] ? diagonal : 1 + min(diagonal, min(above, row[j]))
      diagonal = above
      smallest = min(smallest, row[j + 1])
    }
    if smallest > limit { return nil }
  }
  return row[b.count] <= limit ? row[b.count] : nil
}
