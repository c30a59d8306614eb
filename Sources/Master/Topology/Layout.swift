import Model
import Wire

/// A volume server, numbered for as long as it stays connected.
typealias ServerKey = Int

/// Where the file of an assign is to be sent.
///
/// A class, so that handing it out with every assign counts one reference, not three.
final class AssignTarget: Sendable {
    let server: ServerKey
    let url: String
    let publicURL: String
    let dataCenter: String
    let grpcPort: Int
    /// `","url":"…","publicUrl":"…","count":`: the middle of an assign's answer.
    let fragment: [UInt8]

    init(
        server: ServerKey, url: String, publicURL: String, dataCenter: String = "",
        grpcPort: Int = 0
    ) {
        self.server = server
        self.dataCenter = dataCenter
        self.grpcPort = grpcPort
        self.url = url
        self.publicURL = publicURL
        var json = JSONWriter()
        json.object {
            $0.field("url", url)
            $0.field("publicUrl", publicURL)
            $0.key("count")
        }
        // `{"url":…,"publicUrl":…,"count":}` without its braces, behind a fid that it closes.
        fragment = Array("\",".utf8) + json.bytes.dropFirst().dropLast()
    }
}

/// A volume that takes new files.
struct WritableSlot {
    let volume: VolumeID
    /// Bytes below the size limit, less what was assigned since the last report.
    var remaining: Int64
    /// Bytes that a file of the volume has on average.
    var averageFile: Int64
    /// Whether at least nine tenths of the limit are used.
    var isCrowded: Bool
    var targets: [AssignTarget]
}

/// Files in a row that one server gets for the same volume.
struct AssignRun {
    let volume: VolumeID
    /// How many more.
    var files: Int64 = 256
    /// Bytes that they may have together, by the average of the volume.
    var bytes: Int64 = 16 << 20
}

/// The volumes of one layout: which there are, and which of them take new files.
struct Layout {
    /// Servers whose runs are remembered.
    static let rememberedRuns = 4096

    let key: LayoutKey
    /// Every volume of the layout, writable or not.
    var volumes: Set<VolumeID> = []
    /// Those that take files, in no order.
    private(set) var slots: [WritableSlot] = []
    /// Where in `slots` a volume is.
    private var positions: [VolumeID: Int] = [:]
    /// The volume that a server's next files go to.
    private var runs: [ServerKey: AssignRun] = [:]
    /// Writable volumes that are nearly full.
    private(set) var crowded = 0
    /// Files were assigned since the last look at growth.
    var isUsed = false
    /// The most roomy volumes there ever were, up to what one growth makes.
    var bestRoomy = 0
    /// More volumes were asked for a moment ago.
    var isGrowthPaused = false
    /// Since when it has had fewer than half of these.
    var fewSince: ContinuousClock.Instant?

    init(key: LayoutKey) { self.key = key }

    /// Writable volumes with room.
    var roomy: Int { slots.count - crowded }

    /// The numbers of the writable volumes, ascending.
    var writables: [VolumeID] { slots.map(\.volume).sorted() }

    func isWritable(_ volume: VolumeID) -> Bool { positions[volume] != nil }

    mutating func setWritable(_ slot: WritableSlot) {
        if let position = positions[slot.volume] {
            if slots[position].isCrowded { crowded -= 1 }
            slots[position] = slot
        } else {
            positions[slot.volume] = slots.count
            slots.append(slot)
        }
        if slot.isCrowded { crowded += 1 }
        bestRoomy = max(bestRoomy, min(roomy, GrowthRule.volumes(copies: key.replication.copies)))
    }

    mutating func removeWritable(_ volume: VolumeID) {
        guard let position = positions.removeValue(forKey: volume) else { return }
        if slots[position].isCrowded { crowded -= 1 }
        let last = slots.removeLast()
        guard last.volume != volume else { return }
        slots[position] = last
        positions[last.volume] = position
    }

    /// Picks a volume: of two at random the one with more room, which then serves a run of assigns.
    ///
    /// Two choices keep volumes within a few runs of each other however many there are, without a
    /// sorted structure; even the fullest is picked now and then. Servers are chosen anew each
    /// time, but on one server a run of files goes to the same volume: what arrives together is one
    /// batch there, written and synced at once, instead of many small ones.
    mutating func pick(random: inout some RandomNumberGenerator) -> Int? {
        guard slots.count > 1 else { return slots.isEmpty ? nil : 0 }
        let first = Int(random.next(upperBound: UInt64(slots.count)))
        let second = Int(random.next(upperBound: UInt64(slots.count)))
        let choice = slots[first].remaining >= slots[second].remaining ? first : second
        guard let server = slots[choice].targets.first?.server else { return choice }
        if let run = runs[server], run.files > 0, run.bytes > 0,
            let position = positions[run.volume], !slots[position].isCrowded
        {
            return position
        }
        // servers that left are forgotten with the rest: a run may end early
        if runs.count > Layout.rememberedRuns { runs.removeAll() }
        runs[server] = AssignRun(volume: slots[choice].volume)
        return choice
    }

    /// Volumes looked at, at random, before all of them are.
    static let probes = 32

    /// Picks like ``pick(random:)`` among the volumes that `accepts` takes.
    ///
    /// Where one in a few fits it takes a constant time; only where hardly one does, time grows
    /// with the number of volumes.
    func pick(
        random: inout some RandomNumberGenerator, where accepts: (WritableSlot) -> Bool
    ) -> Int? {
        if slots.isEmpty { return nil }
        var found: Int?
        for _ in 0..<Layout.probes {
            let probe = Int(random.next(upperBound: UInt64(slots.count)))
            guard accepts(slots[probe]) else { continue }
            guard let one = found else {
                found = probe
                continue
            }
            return slots[one].remaining >= slots[probe].remaining ? one : probe
        }
        if let found { return found }
        let fitting = slots.indices.filter { accepts(slots[$0]) }
        guard let first = fitting.randomElement(using: &random),
            let second = fitting.randomElement(using: &random)
        else { return nil }
        return slots[first].remaining >= slots[second].remaining ? first : second
    }

    /// Notes that files of about `bytes` each were assigned; 0 takes the volume's average.
    mutating func charge(_ position: Int, count: UInt64, bytes: UInt64) {
        let each = bytes > 0 ? Int64(clamping: bytes) : slots[position].averageFile
        let (sum, overflow) = each.multipliedReportingOverflow(by: Int64(clamping: count))
        let (rest, underflow) = slots[position].remaining
            .subtractingReportingOverflow(overflow ? .max : sum)
        slots[position].remaining = underflow ? .min : rest
        guard let server = slots[position].targets.first?.server,
            var run = runs[server], run.volume == slots[position].volume
        else { return }
        run.files = run.files.subtractingReportingOverflow(Int64(clamping: count)).partialValue
        run.bytes = overflow ? 0 : run.bytes.subtractingReportingOverflow(sum).partialValue
        runs[server] = run
    }
}

/// How many volumes to make when there are none to write to.
enum GrowthRule {
    /// More copies mean fewer volumes at once.
    static func volumes(copies: Int) -> Int {
        switch copies {
        case 1: 7
        case 2: 6
        case 3: 3
        default: 1
        }
    }
}
