import Logging
import Model
import NIOCore
import RPC
import Synchronization
import Wire

/// A volume server's way to its masters: opened when its own gRPC port is known, closed when it leaves.
final class MasterLink: MasterPeer {
    private let remote: RemoteMaster
    private let state = Mutex(State())

    private struct State {
        /// The port that is told to masters; `nil` before it is known.
        var grpcPort: Int?
        var hasLeft = false
        var reply = ReportReply(volumeSizeLimit: 0, topologyID: "", masters: [])
    }

    /// A link over `remote`.
    init(_ remote: RemoteMaster) { self.remote = remote }

    /// Lets reports go, which say that gRPC is served on `grpcPort`.
    func open(grpcPort: Int) { state.withLock { $0.grpcPort = grpcPort } }

    /// Whether a master takes reports, after waiting for it at most so long.
    func joined(within limit: Duration) async -> Bool {
        await remote.heartbeat.joined(within: limit) != nil
    }

    /// Tells the master that this server goes; it is given no more to do, and goes on serving.
    func leave() async -> Bool {
        let wasMember = remote.heartbeat.membership != nil
        state.withLock { $0.hasLeft = true }
        await remote.disconnected("")
        return wasMember
    }

    func report(
        _ report: ServerReport, from peer: any VolumeServerPeer
    ) async throws(PeerError) -> ReportReply {
        let (grpcPort, last) = state.withLock { ($0.grpcPort, $0.reply) }
        // before its port is known, and after it has left, there is nothing to tell
        guard let port = grpcPort, !state.withLock({ $0.hasLeft }) else { return last }
        var report = report
        report.grpcPort = port
        do throws(PeerError) {
            let reply = try await remote.report(report, from: peer)
            state.withLock { $0.reply = reply }
            return reply
        } catch {
            // one that left while it was looking for a master has nothing to complain about
            if let last = state.withLock({ $0.hasLeft ? $0.reply : nil }) { return last }
            throw error
        }
    }

    func disconnected(_ serverID: String) async { _ = await leave() }

    func locations(of volume: VolumeID) async throws(PeerError) -> [String] {
        try await remote.locations(of: volume)
    }

    /// Takes the copy of a volume here out of writing, or back.
    func mark(_ volume: VolumeInfo, isReadOnly: Bool, at url: String) async throws(PeerError) {
        try await remote.mark(volume, isReadOnly: isReadOnly, at: url)
    }
}
