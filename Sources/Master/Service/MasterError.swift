import Glibc
public import RaftLog

/// Why a master cannot start.
public enum MasterError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The directory of the state cannot be made.
    case directory(path: String, reason: String)
    /// The log cannot be opened: in use, damaged, lost.
    case log(RaftLogError)
    /// Entries of the white list that are neither an address nor a network.
    case whiteList([String])

    /// What, where, expected, found, and what to do next.
    public var description: String {
        switch self {
        case .directory(let path, let reason):
            "mdir \(path) cannot be made: \(reason); "
                + "name a directory that can be written with -mdir"
        case .log(let error): error.description
        case .whiteList(let entries):
            "white list: \(entries.joined(separator: ", ")) is neither an IP address nor a network "
                + "like 10.0.0.0/8"
        }
    }
}

/// The directory of a master's state.
enum MasterDirectory {
    /// Makes it, and those above it, when missing.
    static func make(_ path: String) throws(MasterError) {
        var made = path.hasPrefix("/") ? "/" : ""
        for part in path.split(separator: "/") {
            made += (made.isEmpty || made == "/" ? "" : "/") + part
            guard unsafe mkdir(made, 0o755) == 0 || errno == EEXIST else {
                throw .directory(path: path, reason: unsafe String(cString: strerror(errno)))
            }
        }
    }
}
