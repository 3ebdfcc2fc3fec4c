/// A small, fast generator (xoshiro256**, Blackman and Vigna 2018) whose whole sequence follows from one seed.
///
/// Every random choice of a core comes from one of these, held in its state, so that a run can be repeated exactly.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
  private var a: UInt64, b: UInt64, c: UInt64, d: UInt64

  package init(seed: UInt64) {
    // SplitMix64 spreads the seed over the state, which must not be all zero.
    var x = seed
    func next() -> UInt64 {
      x &+= 0x9E37_79B9_7F4A_7C15
      var z = x
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
    (self.a, self.b, self.c, self.d) = (next(), next(), next(), next())
  }

  package mutating func next() -> UInt64 {
    func rotated(_ x: UInt64, _ k: UInt64) -> UInt64 { (x << k) | (x >> (64 - k)) }
    let result = rotated(self.b &* 5, 7) &* 9
    let t = self.b << 17
    self.c ^= self.a
    self.d ^= self.b
    self.b ^= self.c
    self.a ^= self.d
    self.c ^= t
    self.d = rotated(self.d, 45)
    return result
  }
}
