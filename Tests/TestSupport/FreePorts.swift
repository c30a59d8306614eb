import Glibc

/// Ports of 127.0.0.1 nobody listens on, below the range the system hands out by itself.
public enum FreePorts {
    /// Tries before giving up.
    static let attempts = 200

    /// Two different ports, each free together with the port 10000 above it.
    public static func pair() throws(ServerProcessError) -> (master: Int, volume: Int) {
        for _ in 0..<attempts {
            let master = Int.random(in: 11000..<16000)
            let volume = Int.random(in: 16000..<21000)
            let ports = [master, master + 10000, volume, volume + 10000]
            if ports.allSatisfy(isFree) { return (master, volume) }
        }
        throw .noFreePort
    }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(
            AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { _ = close(descriptor) }
        var address = SocketAddress.loopback(port: port)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return result == 0
    }
}
