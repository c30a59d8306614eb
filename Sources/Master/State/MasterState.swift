import Model

/// What masters must never get wrong: the cluster's identity, which volume ids and needle keys are
/// taken.
///
/// `apply` is a pure function of the state and the command: no clock, no I/O, no randomness, no
/// iteration in hash order. Every master that applies the same commands has the same state.
struct MasterState: Sendable, Hashable {
    /// A volume id allocation that may be asked for again.
    struct Allocation: Sendable, Hashable {
        var request: RequestID
        var first: VolumeID
        var count: UInt32
        var ids: Range<VolumeID> { first..<first + count }
    }

    /// Bytes of a topology id.
    static let topologyIDBytes = 64
    /// Allocations remembered so that a repeated proposal is harmless.
    static let rememberedAllocations = 256
    /// Volume ids given out at once.
    static let volumeIDBatch: UInt32 = 1 << 20
    /// How far a reported volume id may be above the largest known one; a larger step is a damaged
    /// volume or a mistake, and would eat the 32 bits.
    static let volumeIDJump: UInt32 = 1 << 20
    /// Needle keys given out at once.
    static let keyBatch: UInt64 = 1 << 32
    /// Reported keys from here on do not count: clients may choose keys, and one such key must not
    /// use up the key space.
    ///
    /// What is above is reached by counting only, which takes for ever.
    static let reportedKeyLimit: NeedleKey = 1 << 63

    /// The cluster's identity; `nil` before the first command.
    private(set) var topologyID: String?
    /// The largest volume id given out or reported; 0 when there is none.
    private(set) var maxVolumeID: VolumeID = 0
    /// The first needle key in no window.
    ///
    /// Key 0 is never given out.
    private(set) var keyCeiling: NeedleKey = 1
    /// The last allocations, oldest first.
    private(set) var allocations: [Allocation] = []

    init() {}

    /// The state from its parts; `nil` when they contradict each other.
    init?(
        topologyID: String?, maxVolumeID: VolumeID, keyCeiling: NeedleKey, allocations: [Allocation]
    ) {
        guard maxVolumeID < .max, keyCeiling > 0,
            allocations.count <= MasterState.rememberedAllocations,
            topologyID.map({ (1...MasterState.topologyIDBytes).contains($0.utf8.count) }) ?? true
        else { return nil }
        for allocation in allocations {
            let (end, overflow) = allocation.first.addingReportingOverflow(allocation.count)
            guard !overflow, end <= maxVolumeID + 1 else { return nil }
        }
        self.topologyID = topologyID
        self.maxVolumeID = maxVolumeID
        self.keyCeiling = keyCeiling
        self.allocations = allocations
    }

    /// Takes one step.
    ///
    /// A refusal leaves the state as it was.
    mutating func apply(_ command: MasterCommand) -> MasterResult {
        switch command {
        case .setTopologyID(let id): setTopologyID(id)
        case .allocateVolumeIDs(let count, let request): allocate(count, request)
        case .raiseMaxVolumeID(let id): raiseMaxVolumeID(id)
        case .reserveKeys(let count): reserveKeys(count)
        case .raiseKeyCeiling(let key): raiseKeyCeiling(key)
        }
    }

    private mutating func setTopologyID(_ id: String) -> MasterResult {
        if let topologyID { return .topologyID(topologyID) }
        guard (1...MasterState.topologyIDBytes).contains(id.utf8.count) else {
            return .refused(.topologyID(String(id.prefix(MasterState.topologyIDBytes))))
        }
        topologyID = id
        return .topologyID(id)
    }

    private mutating func allocate(_ count: UInt32, _ request: RequestID) -> MasterResult {
        if let known = allocations.first(where: { $0.request == request }) {
            return .volumeIDs(known.ids)
        }
        let (last, overflow) = maxVolumeID.addingReportingOverflow(count)
        guard !overflow, last < .max, count <= MasterState.volumeIDBatch else {
            return .refused(.volumeIDsExhausted(max: maxVolumeID, count: count))
        }
        let allocation = Allocation(request: request, first: maxVolumeID + 1, count: count)
        maxVolumeID = last
        if allocations.count == MasterState.rememberedAllocations { allocations.removeFirst() }
        allocations.append(allocation)
        return .volumeIDs(allocation.ids)
    }

    private mutating func raiseMaxVolumeID(_ id: VolumeID) -> MasterResult {
        if id > maxVolumeID {
            guard id - maxVolumeID <= MasterState.volumeIDJump, id < .max else {
                return .refused(.volumeIDJump(reported: id, max: maxVolumeID))
            }
            maxVolumeID = id
        }
        return .maxVolumeID(maxVolumeID)
    }

    private mutating func reserveKeys(_ count: UInt64) -> MasterResult {
        let (end, overflow) = keyCeiling.addingReportingOverflow(count)
        guard !overflow, count <= MasterState.keyBatch else {
            return .refused(.keysExhausted(ceiling: keyCeiling, count: count))
        }
        let keys = keyCeiling..<end
        keyCeiling = end
        return .keys(keys)
    }

    private mutating func raiseKeyCeiling(_ key: NeedleKey) -> MasterResult {
        guard key < MasterState.reportedKeyLimit else { return .refused(.keyJump(reported: key)) }
        keyCeiling = max(keyCeiling, key + 1)
        return .keyCeiling(keyCeiling)
    }
}
