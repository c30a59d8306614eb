/// Reproducible noise for tests: the same seed, the same bytes (SplitMix64).
struct ReadNoise: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }

    mutating func bytes(upTo limit: Int) -> [UInt8] {
        bytes(Int.random(in: 0...limit, using: &self))
    }

    /// Text made of pieces that parsers have an opinion on.
    mutating func text(of pieces: [String], upTo limit: Int) -> String {
        (0..<Int.random(in: 0...limit, using: &self)).map { _ in
            pieces[Int.random(in: 0..<pieces.count, using: &self)]
        }.joined()
    }
}
