/// Where a master or volume server is: `host:port`, or `host:port.grpcPort`.
///
/// The gRPC port is the port + 10000 unless it is given. Two addresses are equal when host and port
/// are: the gRPC port is no part of who a server is.
public struct PeerAddress: Sendable, Hashable, CustomStringConvertible {
    /// What is added to a port for the gRPC port.
    public static let grpcOffset = 10_000

    /// Name or number of the host; an IPv6 address without its brackets.
    public let host: String
    /// Port of the HTTP service.
    public let port: Int
    /// Port of the gRPC service.
    public let grpcPort: Int

    /// An address; `grpcPort` 0 is `port` + 10000.
    public init(host: String, port: Int, grpcPort: Int = 0) {
        self.host = host
        self.port = port
        self.grpcPort = grpcPort > 0 ? grpcPort : port + PeerAddress.grpcOffset
    }

    /// Reads `host:port` or `host:port.grpcPort`; an IPv6 host may stand in brackets.
    ///
    /// `nil` when it is neither, or a port is not between 1 and 65535.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), colon > text.startIndex else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        let ports = text[text.index(after: colon)...]
            .split(separator: ".", omittingEmptySubsequences: false)
        guard !host.isEmpty, let port = ports.first.flatMap({ PeerAddress.port($0) }) else {
            return nil
        }
        switch ports.count {
        case 1: self.init(host: String(host), port: port)
        case 2:
            guard let grpcPort = PeerAddress.port(ports[1]) else { return nil }
            self.init(host: String(host), port: port, grpcPort: grpcPort)
        default: return nil
        }
    }

    private static func port(_ text: Substring) -> Int? {
        guard text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let port = Int(text),
            (1...Int(UInt16.max)).contains(port)
        else { return nil }
        return port
    }

    /// `host:port`, as HTTP clients use it and as servers are compared.
    public var http: String { "\(bracketedHost):\(port)" }

    /// `host:grpcPort`.
    public var grpc: String { "\(bracketedHost):\(grpcPort)" }

    /// `host:port.grpcPort`: leaders and filers are named like this.
    public var long: String { "\(http).\(grpcPort)" }

    /// `host:port`, and the gRPC port when it is not the usual one.
    public var description: String {
        grpcPort == port + PeerAddress.grpcOffset ? http : long
    }

    private var bracketedHost: String { host.contains(":") ? "[\(host)]" : host }

    /// Whether both name the same server.
    public static func == (one: PeerAddress, other: PeerAddress) -> Bool {
        one.port == other.port && one.host == other.host
    }

    /// Hashes what ``==(_:_:)`` compares.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(host)
        hasher.combine(port)
    }
}
