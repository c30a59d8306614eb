import FoundationEssentials

/// Randomness of a test that can be repeated: `WEED_TEST_SEED` sets it, every use prints it.
public struct Seed: RandomNumberGenerator, Sendable {
    /// What to set `WEED_TEST_SEED` to for the same run.
    public let value: UInt64
    private var state: UInt64

    /// Takes the seed from the environment or makes a new one, and prints it.
    ///
    /// - Parameter label: Names the test in the printed line.
    public init(_ label: String) {
        let given = ProcessInfo.processInfo.environment["WEED_TEST_SEED"].flatMap { UInt64($0) }
        self.init(value: given ?? UInt64.random(in: 0..<1 << 48))
        print("\(label): seed \(value) (repeat with WEED_TEST_SEED=\(value))")
    }

    /// A fixed seed.
    public init(value: UInt64) {
        self.value = value
        state = value
    }

    /// The next 64 bits (SplitMix64).
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// Random bytes.
    public mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 7)
        while bytes.count < count {
            var word = next()
            for _ in 0..<8 {
                bytes.append(UInt8(truncatingIfNeeded: word))
                word >>= 8
            }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }
}
