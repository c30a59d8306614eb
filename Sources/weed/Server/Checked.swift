import ArgumentParser
import Glibc

/// Checks of single flags; the errors say which flag it is and what it takes.
enum Checked {
    /// Most directories of one server.
    static let directoryLimit = 64
    /// Most event loop threads.
    static let threadLimit = 256

    /// Processors this process may use.
    static var processors: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    /// Where files go when nobody says.
    static var temporaryDirectory: String {
        guard let value = unsafe getenv("TMPDIR") else { return "/tmp" }
        let path = unsafe String(cString: value)
        return path.isEmpty ? "/tmp" : path
    }

    /// The parts of a list with commas, without blanks around them.
    static func list(_ text: String) -> [String] {
        text.split(separator: ",").map { part in
            String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }.filter { !$0.isEmpty }
    }

    /// A port; 0 is a free one.
    static func port(_ value: Int, _ flag: String) throws -> Int {
        guard (0...65_535).contains(value) else {
            throw ValidationError("-\(flag)=\(value) is not a port, 0 to 65535")
        }
        return value
    }

    /// The gRPC port beside an HTTP port: as given, else 10000 above it.
    static func grpcPort(_ value: Int?, _ flag: String, beside http: Int) throws -> Int {
        if let value { return try port(value, flag) }
        guard http != 0 else { return 0 }
        guard http + 10_000 <= 65_535 else {
            throw ValidationError(
                "the HTTP port \(http) leaves no room for a gRPC port 10000 above it: give -\(flag)"
            )
        }
        return http + 10_000
    }

    /// Megabytes in bytes.
    static func megabytes(_ value: Int, _ flag: String) throws -> UInt64 {
        guard (1...8_000_000).contains(value) else {
            throw ValidationError("-\(flag)=\(value) is not a number of megabytes, 1 to 8000000")
        }
        return UInt64(value) << 20
    }

    /// A number of seconds from a range.
    static func seconds(_ value: Int, _ flag: String, _ range: ClosedRange<Int>) throws -> Int {
        guard range.contains(value) else {
            throw ValidationError(
                "-\(flag)=\(value) is not a number of seconds from \(range.lowerBound) to "
                    + "\(range.upperBound)")
        }
        return value
    }

    /// One value for all directories, or one for each.
    static func count(_ count: Int, _ flag: String, _ directories: Int) throws {
        guard count == 1 || count == directories else {
            throw ValidationError(
                "-\(flag) has \(count) values for \(directories) directories: give one, or one each"
            )
        }
    }

    /// Ports of which no two may be the same.
    static func distinct(_ ports: [(flag: String, port: Int)]) throws {
        for (index, one) in ports.enumerated() where one.port != 0 {
            if let other = ports[..<index].first(where: { $0.port == one.port }) {
                throw ValidationError(
                    "-\(other.flag) and -\(one.flag) are the same: \(one.port)")
            }
        }
    }
}
