/// The configs set on one resource: a small map in the order of its keys, so that whoever goes through it gets the same order everywhere.
package struct ConfigValues: Sendable, Hashable, ExpressibleByDictionaryLiteral {
  package struct Pair: Sendable, Hashable {
    package var name: String
    package var value: String
  }
  package private(set) var pairs: [Pair] = []

  package init() {}
  package init(dictionaryLiteral elements: (String, String)...) {
    for (name, value) in elements { self[name] = value }
  }

  package var isEmpty: Bool { self.pairs.isEmpty }
  package var count: Int { self.pairs.count }

  /// Setting nil removes the config.
  package subscript(name: String) -> String? {
    get {
      let place = self.place(of: name)
      return place < self.pairs.count && self.pairs[place].name == name ? self.pairs[place].value : nil
    }
    set {
      let place = self.place(of: name)
      let isThere = place < self.pairs.count && self.pairs[place].name == name
      switch (newValue, isThere) {
      case (let value?, true): self.pairs[place].value = value
      case (let value?, false): self.pairs.insert(Pair(name: name, value: value), at: place)
      case (nil, true): self.pairs.remove(at: place)
      case (nil, false): break
      }
    }
  }

  /// Where `name` is, or would be inserted.
  private func place(of name: String) -> Int {
    var (low, high) = (0, self.pairs.count)
    while low < high {
      let middle = (low + high) / 2
      if self.pairs[middle].name < name { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
