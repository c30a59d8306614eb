import Glibc
import Model

/// Cookies that cannot be guessed, from the system in blocks: one call for each would cost more
/// than the rest of an assign.
struct CookieSource: Sendable {
    /// Cookies fetched at once.
    static let blockSize = 1024

    private var block = [UInt32](repeating: 0, count: CookieSource.blockSize)
    private var position = CookieSource.blockSize

    mutating func next() -> UInt32 {
        if position == CookieSource.blockSize { refill() }
        defer { position += 1 }
        return block[position]
    }

    private mutating func refill() {
        position = 0
        let file = unsafe open("/dev/urandom", O_RDONLY | O_CLOEXEC)
        defer { close(file) }
        let got = unsafe block.withUnsafeMutableBytes {
            unsafe read(file, $0.baseAddress, $0.count)
        }
        guard got != block.count * 4 else { return }
        var system = SystemRandomNumberGenerator()
        for i in block.indices { block[i] = system.next() }
    }
}
