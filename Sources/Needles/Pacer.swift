internal import Glibc

/// Slows a copy down to a number of bytes a second.
struct Pacer {
    /// Longest single sleep, so that a large record does not stop everything.
    static let longestSleepMicroseconds: UInt32 = 200_000

    let bytesPerSecond: Int
    private var owed = 0

    init(bytesPerSecond: Int) {
        self.bytesPerSecond = bytesPerSecond
    }

    /// Accounts for bytes; sleeps when a tenth of a second's worth has been copied.
    mutating func pay(_ bytes: Int) {
        guard bytesPerSecond > 0 else { return }
        owed += bytes
        guard owed >= bytesPerSecond / 10 else { return }
        let microseconds = Double(owed) / Double(bytesPerSecond) * 1e6
        usleep(min(Pacer.longestSleepMicroseconds, UInt32(clamping: Int(microseconds))))
        owed = 0
    }
}
