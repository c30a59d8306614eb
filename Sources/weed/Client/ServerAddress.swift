import ArgumentParser

/// Masters as they are named on a command line: `host:port`, separated by commas.
///
/// The long form of the Go original, `host:port.grpcPort`, is taken too.
struct MasterList: Sendable, Equatable, ExpressibleByArgument {
    /// One master.
    struct Master: Sendable, Equatable {
        /// `host:port` of its HTTP server.
        let http: String
        /// Its gRPC port.
        let grpcPort: Int

        /// `host:port.grpcPort`.
        var long: String { "\(http).\(grpcPort)" }

        /// A master.
        init(http: String, grpcPort: Int) {
            self.http = http
            self.grpcPort = grpcPort
        }

        /// Takes `host:port` or `host:port.grpcPort`.
        init?(_ text: Substring) {
            guard let colon = text.lastIndex(of: ":") else { return nil }
            let ports = text[text.index(after: colon)...].split(
                separator: ".", omittingEmptySubsequences: false)
            guard (1...2).contains(ports.count), let port = Int(ports[0]),
                let endpoint = Endpoint("\(text[..<colon]):\(port)")
            else { return nil }
            http = endpoint.authority
            guard ports.count == 2 else {
                grpcPort = port + 10_000
                return
            }
            guard let grpcPort = Int(ports[1]), (1...65_535).contains(grpcPort) else { return nil }
            self.grpcPort = grpcPort
        }
    }

    /// Most masters of one list.
    static let limit = 64

    /// The masters, in the order given; never empty.
    let masters: [Master]

    /// These masters, at least one.
    init(masters: [Master]) { self.masters = masters }

    /// Parses a list.
    init?(argument: String) {
        var masters: [Master] = []
        for part in argument.split(separator: ",") {
            let text = part.drop { $0 == " " }
            guard let master = Master(text) else { return nil }
            if !masters.contains(master) { masters.append(master) }
        }
        guard (1...MasterList.limit).contains(masters.count) else { return nil }
        self.masters = masters
    }

    /// `host:port` of each.
    var addresses: [String] { masters.map(\.http) }

    var defaultValueDescription: String { addresses.joined(separator: ",") }
}
