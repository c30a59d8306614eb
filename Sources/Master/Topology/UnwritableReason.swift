import Model
import Wire

/// Why a volume takes no new files.
enum UnwritableReason: Sendable, Hashable, CustomStringConvertible {
    case readOnly(server: String, why: String)
    case full(size: UInt64, limit: UInt64)
    case missingCopies(have: [String], want: Int)
    case extraCopies(have: [String], want: Int)
    case twiceOnServer(server: String, directories: [UInt32])
    case vacuuming
    case copiesDiffer(one: String, other: String)
    case idNotAccepted
    case retiring

    var description: String {
        switch self {
        case .readOnly(let server, let why): "read-only on \(server): \(why)"
        case .full(let size, let limit): "full: \(size) bytes, the limit is \(limit)"
        case .missingCopies(let have, let want):
            "\(have.count) of \(want) copies connected: on \(have.joined(separator: ", "))"
        case .extraCopies(let have, let want):
            "\(have.count) copies instead of \(want): on \(have.joined(separator: ", ")); "
                + "delete those that do not belong there"
        case .twiceOnServer(let server, let directories):
            "\(server) has it in directories "
                + directories.map { "\($0)" }.joined(separator: " and ")
                + ": remove one of the two"
        case .vacuuming: "being vacuumed"
        case .copiesDiffer(let one, let other): "its copies disagree: \(one), but \(other)"
        case .idNotAccepted: "its id is too far above the cluster's largest volume id"
        case .retiring: "empty for longer than its time to live: about to be deleted"
        }
    }
}

extension Topology {
    /// Why a volume takes no new files.
    func reason(_ entry: VolumeEntry, _ copies: [VolumeInfo]) -> UnwritableReason? {
        guard let first = copies.first else { return nil }
        if entry.id > acceptedVolumeID { return .idNotAccepted }
        if entry.isVacuuming { return .vacuuming }
        if entry.isRetiring { return .retiring }
        for (key, copy) in zip(entry.holders, copies) {
            if let why = copy.readOnlyReason {
                return .readOnly(server: servers[key]?.url ?? "", why: why)
            }
        }
        let size = copies.map(\.size).max() ?? 0
        if size >= volumeSizeLimit { return .full(size: size, limit: volumeSizeLimit) }
        for (key, copy) in zip(entry.holders, copies) where LayoutKey(copy) != LayoutKey(first) {
            let urls = (servers[entry.holders[0]]?.url ?? "", servers[key]?.url ?? "")
            return .copiesDiffer(
                one: "\(LayoutKey(first)) on \(urls.0)", other: "\(LayoutKey(copy)) on \(urls.1)")
        }
        for key in entry.holders {
            guard let server = servers[key], let places = server.doubles[entry.id] else { continue }
            return .twiceOnServer(server: server.url, directories: places)
        }
        let want = first.replication.copies
        if copies.count == want { return nil }
        let urls = entry.holders.compactMap { servers[$0]?.url }
        return copies.count < want
            ? .missingCopies(have: urls, want: want) : .extraCopies(have: urls, want: want)
    }
}
