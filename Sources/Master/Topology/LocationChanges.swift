import Model

/// A volume server as those see it who look for volumes.
struct ServerLocation: Sendable, Hashable {
    var url: String
    var publicURL: String
    var dataCenter: String
    var grpcPort: Int
}

/// Volumes that came to and went from one server.
struct LocationChange: Sendable, Hashable {
    var server: ServerLocation
    var added: [VolumeID] = []
    var removed: [VolumeID] = []
}

/// Where volumes came and went, in order; neighbouring changes of one server are one.
struct LocationChanges: Sendable {
    private(set) var list: [LocationChange] = []

    /// Volumes can be found at a server.
    mutating func added(_ ids: [VolumeID], at server: ServerLocation) {
        if ids.isEmpty { return }
        if let last = list.last, last.server == server, last.removed.isEmpty {
            list[list.count - 1].added += ids
        } else {
            list.append(LocationChange(server: server, added: ids))
        }
    }

    /// Volumes cannot be found at a server any more.
    ///
    /// Whoever reads a change takes what came over what went, so both are never mixed in one.
    mutating func removed(_ ids: [VolumeID], at server: ServerLocation) {
        if ids.isEmpty { return }
        if let last = list.last, last.server == server, last.added.isEmpty {
            list[list.count - 1].removed += ids
        } else {
            list.append(LocationChange(server: server, removed: ids))
        }
    }

    /// Takes all of them out.
    mutating func take() -> [LocationChange] {
        if list.isEmpty { return [] }
        defer { list = [] }
        return list
    }
}
