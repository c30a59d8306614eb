import Model

/// Names one attempt to allocate volume ids, so that a repeated proposal gets the ids of the first.
struct RequestID: Sendable, Hashable {
    var high: UInt64
    var low: UInt64
}

/// One step of what the masters agree on.
///
/// Everything random or timed is decided before it is proposed.
enum MasterCommand: Sendable, Hashable {
    /// Names the cluster; the first one counts.
    case setTopologyID(String)
    /// Takes the next `count` volume ids.
    ///
    /// The ids are computed when the command is applied.
    case allocateVolumeIDs(count: UInt32, request: RequestID)
    /// A volume server has a volume with this id.
    case raiseMaxVolumeID(VolumeID)
    /// Takes the next `count` needle keys.
    case reserveKeys(count: UInt64)
    /// A volume server has a needle with this key.
    case raiseKeyCeiling(NeedleKey)
}

/// What applying a command gave.
enum MasterResult: Sendable, Hashable {
    /// The cluster's identity, whoever set it.
    case topologyID(String)
    /// Ids that are the proposer's alone.
    case volumeIDs(Range<VolumeID>)
    /// The largest volume id in use.
    case maxVolumeID(VolumeID)
    /// Keys that are the proposer's alone.
    case keys(Range<NeedleKey>)
    /// The first key in no window yet.
    case keyCeiling(NeedleKey)
    /// The state did not change.
    case refused(MasterRefusal)
}

/// Why a command changed nothing.
enum MasterRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    case topologyID(String)
    case volumeIDsExhausted(max: VolumeID, count: UInt32)
    case volumeIDJump(reported: VolumeID, max: VolumeID)
    case keysExhausted(ceiling: NeedleKey, count: UInt64)
    case keyJump(reported: NeedleKey)

    var description: String {
        switch self {
        case .topologyID(let text):
            "topology id \"\(text)\" refused: expected 1 to \(MasterState.topologyIDBytes) bytes"
        case .volumeIDsExhausted(let max, let count):
            "cannot allocate \(count) volume ids above \(max): at most "
                + "\(MasterState.volumeIDBatch) at once, none above \(VolumeID.max - 1)"
        case .volumeIDJump(let reported, let max):
            "volume id \(reported) is more than \(MasterState.volumeIDJump) above the largest "
                + "known id \(max): the volume is served, but takes no new files"
        case .keysExhausted(let ceiling, let count):
            "cannot reserve \(count) file keys above \(ceiling): at most "
                + "\(MasterState.keyBatch) at once, none above \(NeedleKey.max - 1)"
        case .keyJump(let reported):
            "file key \(reported) ignored: keys from \(MasterState.reportedKeyLimit) on are not "
                + "given out by a master"
        }
    }
}
