/// How often each situation came up; a simulation that never meets one proves nothing about it.
struct Coverage: CustomStringConvertible {
    var seeds = 0
    var writes = 0
    var deletes = 0
    var spools = 0
    var emptyFiles = 0
    var acknowledged = 0
    var inFlightAtCut = 0
    var powerCuts = 0
    var kills = 0
    var cleanStops = 0
    var recoveries = 0
    var checkpoints = 0
    var compactions = 0
    var compactionsDiscarded = 0
    var cutsInCheckpoint = 0
    var cutsInCompaction = 0
    var cutsInSwitch = 0
    var cutsInRecovery = 0
    var stopsOnRunway = 0
    var runwaysGivenBack = 0
    var tornFiles = 0
    var lostFiles = 0
    var lostDirectoryChanges = 0
    var damagesReported = 0
    var tailsCut = 0
    var rebuilds = 0
    var fullDisks = 0
    var failedSyncs = 0
    var killsInOperation = 0
    var rottenNeedles = 0
    var survivedUnacknowledged = 0
    var lostUnacknowledged = 0
    /// Whether the last recovery built the index anew; not a count.
    var wasRebuilt = false

    var description: String {
        Mirror(reflecting: self).children.map { "\($0.label ?? "") \($0.value)" }
            .joined(separator: ", ")
    }

    mutating func add(_ other: Coverage) {
        seeds += other.seeds
        writes += other.writes
        deletes += other.deletes
        spools += other.spools
        emptyFiles += other.emptyFiles
        acknowledged += other.acknowledged
        inFlightAtCut += other.inFlightAtCut
        powerCuts += other.powerCuts
        kills += other.kills
        cleanStops += other.cleanStops
        recoveries += other.recoveries
        checkpoints += other.checkpoints
        compactions += other.compactions
        compactionsDiscarded += other.compactionsDiscarded
        cutsInCheckpoint += other.cutsInCheckpoint
        cutsInCompaction += other.cutsInCompaction
        cutsInSwitch += other.cutsInSwitch
        cutsInRecovery += other.cutsInRecovery
        stopsOnRunway += other.stopsOnRunway
        runwaysGivenBack += other.runwaysGivenBack
        tornFiles += other.tornFiles
        lostFiles += other.lostFiles
        lostDirectoryChanges += other.lostDirectoryChanges
        damagesReported += other.damagesReported
        tailsCut += other.tailsCut
        rebuilds += other.rebuilds
        fullDisks += other.fullDisks
        failedSyncs += other.failedSyncs
        killsInOperation += other.killsInOperation
        rottenNeedles += other.rottenNeedles
        survivedUnacknowledged += other.survivedUnacknowledged
        lostUnacknowledged += other.lostUnacknowledged
    }

    /// Situations that never came up.
    var missing: [String] {
        Mirror(reflecting: self).children.compactMap { child in
            (child.value as? Int) == 0 ? child.label : nil
        }
    }
}
