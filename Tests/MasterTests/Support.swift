import Logging
import Model
import NIOCore
import NIOPosix
import Synchronization
import Testing
import Wire

@testable import Master

/// Logs nothing.
let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// Keeps a master's state in memory; a commit can be made to fail, before or after it took effect.
final class MemoryState: DurableState {
    enum Fault { case none, before, after }
    struct Failure: Error {}

    private let kept: Mutex<KeptState>
    private let fault = Mutex(Fault.none)
    private let commits = Mutex(0)

    init(keeping kept: KeptState = KeptState()) { self.kept = Mutex(kept) }

    /// What a crash leaves: what the old life still writes does not reach it.
    func afterCrash() -> MemoryState { MemoryState(keeping: kept.withLock { $0 }) }

    var commitCount: Int { commits.withLock { $0 } }

    func failNext(_ fault: Fault) { self.fault.withLock { $0 = fault } }

    func recover() async throws -> KeptState { kept.withLock { $0 } }

    func commit(entries: [[UInt8]], index: UInt64, state: [UInt8]) async throws {
        let fault = fault.withLock { fault in
            defer { fault = .none }
            return fault
        }
        if fault == .before { throw Failure() }
        commits.withLock { $0 += 1 }
        kept.withLock { $0 = KeptState(index: index, state: state) }
        if fault == .after { throw Failure() }
    }
}

/// A volume server that keeps its volumes in memory and does as the test says.
final class FakeServer: VolumeServerPeer {
    struct State {
        var volumes: [VolumeID: VolumeInfo] = [:]
        var garbage: [VolumeID: Double] = [:]
        var calls: [String] = []
        var refusal: PeerError?
        var compactFailure: PeerError?
        /// Called while a volume is compacted.
        var onCompact: (@Sendable () -> Void)?
        var commitsReadOnly = false
        var running = 0
        var mostRunning = 0
    }

    let id: String
    let url: String
    let dataCenter: String
    let rack: String
    let slots: [String: Int]
    let state = Mutex(State())
    /// Called in every allocation, before it takes effect.
    let onAllocate: (@Sendable (AllocateVolume) async -> Void)?

    init(
        _ url: String, dataCenter: String = "", rack: String = "", slots: [String: Int] = ["": 8],
        onAllocate: (@Sendable (AllocateVolume) async -> Void)? = nil
    ) {
        id = "id-\(url)"
        self.url = url
        self.dataCenter = dataCenter
        self.rack = rack
        self.slots = slots
        self.onAllocate = onAllocate
    }

    var report: ServerReport {
        ServerReport(
            id: id, url: url, publicURL: url, grpcPort: 18080, dataCenter: dataCenter, rack: rack,
            maxVolumes: slots,
            volumes: state.withLock { $0.volumes.values.sorted { $0.id < $1.id } })
    }

    var calls: [String] { state.withLock { $0.calls } }

    func add(_ volume: VolumeInfo) { state.withLock { $0.volumes[volume.id] = volume } }

    func change(_ id: VolumeID, _ body: (inout VolumeInfo) -> Void) {
        state.withLock { state in
            guard var volume = state.volumes[id] else { return }
            body(&volume)
            state.volumes[id] = volume
        }
    }

    func allocateVolume(_ request: AllocateVolume) async throws(PeerError) {
        await onAllocate?(request)
        let refusal = state.withLock { state -> PeerError? in
            state.calls.append("allocate \(request.id)")
            if let refusal = state.refusal { return refusal }
            state.volumes[request.id] = VolumeInfo(
                id: request.id, collection: request.collection, replication: request.replication,
                ttl: request.ttl, diskType: request.diskType)
            return nil
        }
        if let refusal { throw refusal }
    }

    func deleteVolume(_ id: VolumeID) async throws(PeerError) {
        state.withLock {
            $0.calls.append("delete \(id)")
            $0.volumes[id] = nil
        }
    }

    func deleteCollection(_ name: String) async throws(PeerError) {
        state.withLock { state in
            state.calls.append("deleteCollection \(name)")
            state.volumes = state.volumes.filter { $0.value.collection != name }
        }
    }

    func vacuumCheck(_ id: VolumeID) async throws(PeerError) -> Double {
        state.withLock { $0.garbage[id] ?? 0 }
    }

    func vacuumCompact(_ id: VolumeID) async throws(PeerError) {
        state.withLock {
            $0.calls.append("compact \(id)")
            $0.running += 1
            $0.mostRunning = max($0.mostRunning, $0.running)
        }
        state.withLock { $0.onCompact }?()
        for _ in 0..<10 { await Task.yield() }
        let failure = state.withLock { state in
            state.running -= 1
            return state.compactFailure
        }
        if let failure { throw failure }
    }

    func vacuumCommit(
        _ id: VolumeID
    ) async throws(PeerError) -> (isReadOnly: Bool, size: UInt64) {
        state.withLock { state in
            state.calls.append("commit \(id)")
            state.garbage[id] = 0
            state.volumes[id]?.size = 100
            return (state.commitsReadOnly, 100)
        }
    }

    func vacuumCleanup(_ id: VolumeID) async throws(PeerError) {
        state.withLock { $0.calls.append("cleanup \(id)") }
    }
}

/// A master without a network side, its state in memory.
func makeCore(
    state: MemoryState = MemoryState(), volumeSizeLimitMB: UInt64 = 1,
    change: (inout MasterConfiguration) -> Void = { _ in }
) async throws -> MasterCore {
    var configuration = MasterConfiguration(directory: "/nowhere")
    configuration.volumeSizeLimitMB = volumeSizeLimitMB
    configuration.seed = 7
    change(&configuration)
    let host = try await SingleNodeHost(recovering: state)
    _ = try await host.propose(.setTopologyID("a-topology"))
    let core = MasterCore(
        configuration: configuration, state: host.state, proposer: host, logger: silent)
    try await core.start()
    return core
}

/// An assign of the default kind.
func wish(
    _ collection: String = "", count: UInt64 = 1, replication: String = "000",
    dataCenter: String = ""
) throws -> AssignRequest {
    var request = AssignRequest(
        layout: LayoutKey(
            collection: collection, replication: try ReplicaPlacement(parsing: replication)))
    request.count = count
    request.whereabouts.dataCenter = dataCenter
    return request
}

extension Topology {
    /// Takes a report from this process, which must not be refused.
    mutating func report(
        _ report: ServerReport, from peer: any VolumeServerPeer,
        now: ContinuousClock.Instant = .now
    ) {
        do {
            try take(
                Heartbeat(report),
                from: ServerLink(connection: ServerLink.inProcess, peer: peer), now: now)
        } catch {
            Issue.record("\(error)")
        }
    }
}
