import Model

/// A volume server as placement sees it.
struct PlacementCandidate: Sendable, Hashable {
    var key: ServerKey
    /// `host:port`, for refusals.
    var url: String
    var dataCenter: String
    var rack: String
    /// Volumes it can still take.
    var free: Int
    /// Whether the request's `dataNode` names it.
    var isNamed = false
    /// What refusals say of it; empty for what `free` tells.
    var state = ""

    /// One line for a refusal.
    fileprivate var line: String { state.isEmpty ? "\(url) has room for \(max(0, free))" : state }
}

/// Chooses servers for the copies of one volume.
///
/// Of `xyz`, the first copy and z more go to different servers of one rack, y to other racks of
/// that data center, x to other data centers; racks and data centers are all different. What is
/// chosen is random, in proportion to free slots. If any choice fits, one is found.
struct Placement {
    private struct Rack {
        let name: String
        var servers: [PlacementCandidate]
        var free: [PlacementCandidate] { servers.filter { $0.free > 0 } }
        var slots: Int { servers.reduce(0) { $0 + max(0, $1.free) } }
    }

    private struct Center {
        let name: String
        var racks: [Rack]
        var slots: Int { racks.reduce(0) { $0 + $1.slots } }
        var hasFree: Bool { racks.contains { $0.slots > 0 } }
    }

    private var centers: [Center]
    private let replication: ReplicaPlacement
    private let whereabouts: Whereabouts

    /// A choice among servers; the order they come in does not matter.
    init(
        _ candidates: [PlacementCandidate], replication: ReplicaPlacement,
        whereabouts: Whereabouts = Whereabouts()
    ) {
        var centers: [Center] = []
        let sorted = candidates.sorted {
            ($0.dataCenter, $0.rack, $0.url, $0.key) < ($1.dataCenter, $1.rack, $1.url, $1.key)
        }
        for candidate in sorted {
            if centers.last?.name != candidate.dataCenter {
                centers.append(Center(name: candidate.dataCenter, racks: []))
            }
            let center = centers.count - 1
            if centers[center].racks.last?.name != candidate.rack {
                centers[center].racks.append(Rack(name: candidate.rack, servers: []))
            }
            centers[center].racks[centers[center].racks.count - 1].servers.append(candidate)
        }
        self.centers = centers
        self.replication = replication
        self.whereabouts = whereabouts
    }

    /// The servers, the first copy's first.
    func choose(
        random: inout some RandomNumberGenerator
    ) throws(PlacementRefusal) -> [ServerKey] {
        var mains: [(center: Int, rack: Int, weight: Int)] = []
        for center in centers.indices where refusal(center: center) == nil {
            for rack in centers[center].racks.indices
            where refusal(rack: rack, in: center) == nil {
                let weight = firstServers(centers[center].racks[rack]).reduce(0) { $0 + $1.free }
                mains.append((center, rack, weight))
            }
        }
        guard let main = Placement.pick(mains, random: &random, weight: \.weight) else {
            throw PlacementRefusal(reasons: reasons(), servers: servers.map(\.line))
        }
        let center = centers[main.center]
        let rack = center.racks[main.rack]
        var chosen: [ServerKey] = []
        if let first = Placement.pick(firstServers(rack), random: &random, weight: \.free) {
            chosen.append(first.key)
            let others = rack.free.filter { $0.key != first.key }
            chosen += Placement.pick(
                Int(replication.sameRack), of: others, random: &random, weight: \.free
            ).map(\.key)
        }
        var racks = center.racks
        racks.remove(at: main.rack)
        racks = Placement.pick(
            Int(replication.otherRacks), of: racks, random: &random, weight: \.slots)
        for rack in racks {
            chosen += Placement.pick(1, of: rack.free, random: &random, weight: \.free).map(\.key)
        }
        var others = centers
        others.remove(at: main.center)
        others = Placement.pick(
            Int(replication.otherDataCenters), of: others, random: &random, weight: \.slots)
        for center in others {
            let servers = center.racks.flatMap(\.free)
            chosen += Placement.pick(1, of: servers, random: &random, weight: \.free).map(\.key)
        }
        return chosen
    }

    /// Every server, in the order shown.
    private var servers: [PlacementCandidate] { centers.flatMap(\.racks).flatMap(\.servers) }

    /// Counts one slot less on servers that were chosen.
    mutating func take(_ keys: [ServerKey]) {
        for center in centers.indices {
            for rack in centers[center].racks.indices {
                for server in centers[center].racks[rack].servers.indices
                where keys.contains(centers[center].racks[rack].servers[server].key) {
                    centers[center].racks[rack].servers[server].free -= 1
                }
            }
        }
    }

    /// Servers of a rack that can take the first copy.
    private func firstServers(_ rack: Rack) -> [PlacementCandidate] {
        whereabouts.node.isEmpty ? rack.free : rack.free.filter(\.isNamed)
    }

    // MARK: Refusals

    /// Why a data center cannot be that of the first copy.
    private func refusal(center index: Int) -> String? {
        let center = centers[index]
        if !whereabouts.dataCenter.isEmpty, center.name != whereabouts.dataCenter {
            return "Not matching preferred data center:\(whereabouts.dataCenter)"
        }
        let racks = Int(replication.otherRacks) + 1
        if center.racks.count < racks {
            return "Only has \(center.racks.count) racks, not enough for \(racks)."
        }
        let slots = racks + Int(replication.sameRack)
        if center.slots < slots { return "Free:\(center.slots) < Expected:\(slots)" }
        let others = centers.indices.count(where: { $0 != index && centers[$0].hasFree })
        if others < Int(replication.otherDataCenters) {
            return "Only \(others) other data centers with a slot, not enough for "
                + "\(replication.otherDataCenters)."
        }
        return nil
    }

    /// Why a rack cannot be that of the first copy.
    private func refusal(rack index: Int, in center: Int) -> String? {
        let rack = centers[center].racks[index]
        if !whereabouts.rack.isEmpty, rack.name != whereabouts.rack {
            return "Not matching preferred rack:\(whereabouts.rack)"
        }
        let servers = Int(replication.sameRack) + 1
        if rack.servers.count < servers {
            return "Only has \(rack.servers.count) data nodes, not enough for \(servers)."
        }
        let free = rack.free.count
        if free < servers {
            return "Only has \(free) data nodes with a slot, not enough for \(servers)."
        }
        let racks = centers[center].racks.indices.count(where: {
            $0 != index && centers[center].racks[$0].slots > 0
        })
        if racks < Int(replication.otherRacks) {
            return
                "Only \(racks) other racks with a slot, not enough for \(replication.otherRacks)."
        }
        if firstServers(rack).isEmpty {
            return "Not matching preferred data node:\(whereabouts.node)"
        }
        return nil
    }

    /// One line for each data center or, where that would do, each rack.
    private func reasons() -> [String] {
        var lines: [String] = []
        for center in centers.indices {
            if let refusal = refusal(center: center) {
                lines.append("\(centers[center].name):\(refusal)")
                continue
            }
            for rack in centers[center].racks.indices {
                guard let refusal = refusal(rack: rack, in: center) else { continue }
                lines.append("\(centers[center].racks[rack].name):\(refusal)")
            }
        }
        return lines
    }

    // MARK: Weighted choice

    /// One element at random, in proportion to its weight; `nil` when no weight is above 0.
    private static func pick<T>(
        _ elements: [T], random: inout some RandomNumberGenerator, weight: (T) -> Int
    ) -> T? {
        let total = elements.reduce(0) { $0 + max(0, weight($1)) }
        guard total > 0 else { return nil }
        var left = Int.random(in: 0..<total, using: &random)
        for element in elements {
            left -= max(0, weight(element))
            if left < 0 { return element }
        }
        return nil
    }

    /// Up to `count` different elements of weight above 0.
    private static func pick<T>(
        _ count: Int, of elements: [T], random: inout some RandomNumberGenerator,
        weight: (T) -> Int
    ) -> [T] {
        var rest = Array(elements.indices)
        var picked: [T] = []
        while picked.count < count,
            let index = pick(rest, random: &random, weight: { weight(elements[$0]) })
        {
            picked.append(elements[index])
            rest.removeAll { $0 == index }
        }
        return picked
    }
}

/// No servers fit a volume.
struct PlacementRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    /// One line per data center or rack.
    var reasons: [String]
    /// One line per server.
    var servers: [String] = []

    /// Lines shown at most of either kind.
    static let shownLines = 50

    var description: String {
        let lines = PlacementRefusal.shown(reasons) + PlacementRefusal.shown(servers)
        return "No matching data node found! \n" + lines.joined(separator: "\n")
    }

    private static func shown(_ lines: [String]) -> [String] {
        lines.count > shownLines
            ? lines.prefix(shownLines) + ["and \(lines.count - shownLines) more"] : lines
    }
}
