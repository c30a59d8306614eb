import Model
import Synchronization

/// What a client wants file ids for.
struct AssignRequest: Sendable {
    /// File ids in a row.
    var count: UInt64 = 1
    var layout: LayoutKey
    var whereabouts = Whereabouts()
    /// Volumes to make if there are none; 0 leaves it to the number of copies.
    var volumes = 0
    /// Bytes of one file as the client expects them; 0 is unknown.
    var fileBytes: UInt64 = 0
    /// Bytes to reserve on disk for a new volume.
    var preallocate: UInt64 = 0

    /// File ids given out at once.
    static let countLimit: UInt64 = 1_000_000
}

/// File ids for a client.
struct Assigned: Sendable {
    let fid: FileID
    let count: UInt64
    let target: AssignTarget
    /// Every copy, `target` among them.
    let copies: [AssignTarget]
    /// Needle keys should be fetched.
    var needsKeys = false
    /// Volumes should be made ahead of time.
    var needsVolumes = false
}

/// What one look at the topology gave.
enum AssignAttempt {
    case assigned(Assigned)
    /// No writable volume fits.
    case noVolume
    /// Not enough keys are at hand.
    case noKeys
}

/// Why no file id was given out.
enum AssignRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    /// The cluster has no slot left for another volume.
    case noFreeSlots(LayoutKey, why: String)
    /// Volumes are being made, or could not be.
    case growing(LayoutKey, why: String?)
    /// Volume servers known from before have not reported yet.
    case warmingUp(seconds: Int)
    /// Too many requests wait for volumes.
    case overloaded(limit: Int)
    /// The master's log does not work.
    case log(ProposalError)

    var description: String {
        switch self {
        case .noFreeSlots(let layout, let why):
            "failed to find writable volumes for collection:\(layout.collection) "
                + "replication:\(layout.replication) ttl:\(layout.ttl) error: No writable volumes "
                + "and no free volumes left for \(layout): \(why)"
        case .growing(let layout, let why):
            "no writable volumes for \(layout), volume growth in progress"
                + (why.map { "; the last attempt failed: \($0)" } ?? "")
        case .warmingUp: "master is warming up, topology is still loading"
        case .overloaded(let limit): "\(limit) requests already wait for new volumes: try again"
        case .log(let error): "\(error)"
        }
    }
}

extension MasterShared {
    /// Finds a volume and keys for a request, without waiting for anything.
    mutating func assign(_ request: AssignRequest, key reserved: NeedleKey? = nil) -> AssignAttempt
    {
        guard let layout = topology.layoutIndex(request.layout),
            let (position, choice) = pick(layout, request.whereabouts)
        else { return .noVolume }
        guard let key = reserved ?? keys.take(request.count) else { return .noKeys }
        let volume = topology.layouts[layout].slots[position].volume
        let copies = topology.layouts[layout].slots[position].targets
        topology.layouts[layout].charge(position, count: request.count, bytes: request.fileBytes)
        topology.layouts[layout].isUsed = true
        assigned &+= 1
        return .assigned(
            Assigned(
                fid: FileID(volume: volume, key: key, cookie: cookies.next()),
                count: request.count, target: copies[choice], copies: copies,
                needsKeys: keys.startRefill(),
                needsVolumes: topology.layouts[layout].wantsRoom))
    }

    /// A writable volume of a layout and which of its copies to name.
    private mutating func pick(
        _ layout: Int, _ whereabouts: Whereabouts
    ) -> (position: Int, choice: Int)? {
        if whereabouts.isAnywhere {
            guard let position = topology.layouts[layout].pick(random: &picks) else { return nil }
            let copies = topology.layouts[layout].slots[position].targets.count
            guard copies > 0 else { return nil }
            return (position, copies == 1 ? 0 : Int.random(in: 0..<copies, using: &picks))
        }
        func isWanted(_ target: AssignTarget) -> Bool {
            topology.servers[target.server].map { topology.matches($0, whereabouts) } ?? false
        }
        guard
            let position = topology.layouts[layout].pick(
                random: &picks, where: { $0.targets.contains(where: isWanted) })
        else { return nil }
        let targets = topology.layouts[layout].slots[position].targets
        let fitting = targets.indices.filter { isWanted(targets[$0]) }
        return fitting.randomElement(using: &picks).map { (position, $0) }
    }
}

extension MasterCore {
    /// Times that one request may wait for volumes to be made.
    static let growthsAwaited = 3

    /// Assigns at once if a writable volume and keys are at hand; what most requests meet.
    func assignNow(_ request: AssignRequest) -> Assigned? {
        let attempt = shared.withLock { $0.assign(request) }
        guard case .assigned(let assigned) = attempt else { return nil }
        follow(assigned, request.layout)
        return assigned
    }

    /// Assigns, making volumes and fetching keys as needed.
    func assign(_ request: AssignRequest) async throws(AssignRefusal) -> Assigned {
        var keys: Range<NeedleKey>?
        var why: String?
        var waits = 0
        while true {
            switch shared.withLock({ $0.assign(request, key: keys?.lowerBound) }) {
            case .assigned(let assigned):
                follow(assigned, request.layout)
                return assigned
            case .noKeys:
                // A window of its own: a large request would empty the shared one for all others.
                do {
                    keys = try await reserveKeys(request.count)
                } catch {
                    throw .log(error)
                }
            case .noVolume:
                guard waits < MasterCore.growthsAwaited else {
                    throw .growing(request.layout, why: why)
                }
                waits += 1
                switch try await awaitGrowth(request) {
                case .progressed: break
                case .failed(let reason):
                    why = reason
                    throw .growing(request.layout, why: reason)
                case .timedOut: throw .growing(request.layout, why: nil)
                }
            }
        }
    }

    /// Starts what an assign found to be running low.
    private func follow(_ assigned: Assigned, _ layout: LayoutKey) {
        if assigned.needsKeys { refillKeys() }
        if assigned.needsVolumes { growAhead(layout, count: 0) }
    }
}
