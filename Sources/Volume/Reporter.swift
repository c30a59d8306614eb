import Logging
import Model
import NIOCore
import NIOPosix
import Needles
import Platform
import Synchronization
import Wire

/// Tells the master about this server: at start, when something changed, and every pulse.
///
/// Changes that come while a report is under way are told with the next one.
final class Reporter: Sendable {
    private let continuation: AsyncStream<Void>.Continuation
    private let task: Task<Void, Never>
    private let pulse: RepeatedTask

    init(
        every period: TimeAmount, on loop: any EventLoop,
        _ report: @escaping @Sendable () async -> Void
    ) {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.continuation = continuation
        task = Task { for await _ in stream { await report() } }
        pulse = loop.scheduleRepeatedTask(initialDelay: period, delay: period) { _ in
            continuation.yield()
        }
        continuation.yield()
    }

    /// Reports soon.
    func changed() { continuation.yield() }

    /// No more reports are begun.
    func stop() {
        pulse.cancel()
        continuation.finish()
        task.cancel()
    }
}

extension VolumeService {
    /// Starts the reports, and with every pulse the look for volumes whose time is over.
    func beginReports(on loop: any EventLoop) {
        let period = TimeAmount.seconds(Int64(max(1, configuration.pulseSeconds)))
        let reporter = Reporter(every: period, on: loop) { [weak self] in
            await self?.deleteExpiredVolumes()
            await self?.report()
        }
        state.withLock { $0.reporter = reporter }
        store.onChange { reporter.changed() }
    }

    /// Reports soon, beside the reports of every pulse.
    public func reportSoon() { state.withLock { $0.reporter }?.changed() }

    /// What this server says of itself now.
    func makeReport() -> ServerReport {
        let now = Expiry.now()
        let port = self.port
        var problems: [String: String] = [:]
        for directory in store.directoryStatuses {
            if let problem = directory.problem { problems[directory.path] = problem }
        }
        var report = ServerReport(
            id: store.serverID, url: url, publicURL: publicURL,
            grpcPort: configuration.grpcPort > 0 ? configuration.grpcPort : port + 10_000,
            dataCenter: configuration.dataCenter, rack: configuration.rack,
            maxVolumes: store.maxVolumes,
            volumes: StatusJSON.sorted(store.volumes).filter { !Expiry.isOver($0, now: now) },
            directoryProblems: problems)
        report.directoryIDs = store.directoryIDs
        return report
    }

    private func report() async {
        guard let master, !isStopping else { return }
        do {
            let reply = try await master.report(makeReport(), from: VolumePeer(service: self))
            take(reply)
        } catch {
            logger.warning("the master did not take the report, trying again: \(error)")
        }
    }

    private func take(_ reply: ReportReply) {
        let foreign = state.withLock { state -> String? in
            if let known = state.topologyID, !reply.topologyID.isEmpty, known != reply.topologyID {
                return known
            }
            if !reply.topologyID.isEmpty { state.topologyID = reply.topologyID }
            state.volumeSizeLimit = reply.volumeSizeLimit
            state.masters = reply.masters
            return nil
        }
        guard let foreign else {
            if reply.volumeSizeLimit > 0, reply.volumeSizeLimit != store.volumeSizeLimit {
                store.volumeSizeLimit = reply.volumeSizeLimit
                // how many volumes there is room for follows from it
                reportSoon()
            }
            return
        }
        logger.error(
            """
            the master belongs to cluster \(reply.topologyID), this server to \(foreign): its answer is \
            ignored; check -master
            """)
    }
}

/// When a volume with a time to live is over.
///
/// Times are unix seconds.
enum Expiry {
    /// The longest time between a volume's end and its deletion, seconds.
    static let longestDelay: UInt64 = 600

    /// Now, unix seconds.
    static func now() -> UInt64 { WallClock.seconds }

    /// Whether the last write is older than the volume's time to live.
    ///
    /// An empty volume is never over.
    static func isOver(_ volume: VolumeInfo, now: UInt64) -> Bool {
        guard let end = end(of: volume) else { return false }
        return now >= end
    }

    /// Whether it has been over for a tenth of its time to live, or ten minutes: nobody reads it
    /// any more.
    static func isDeletable(_ volume: VolumeInfo, now: UInt64) -> Bool {
        guard let end = end(of: volume) else { return false }
        return now >= end + min(volume.ttl.seconds / 10, longestDelay)
    }

    private static func end(of volume: VolumeInfo) -> UInt64? {
        let superBlockBytes: UInt64 = 8
        guard !volume.ttl.isNone, volume.size > superBlockBytes, volume.modifiedAtSecond > 0 else {
            return nil
        }
        return UInt64(volume.modifiedAtSecond) + volume.ttl.seconds
    }
}

extension VolumeService {
    /// Deletes the volumes whose time to live was over long enough ago.
    func deleteExpiredVolumes() async {
        let now = Expiry.now()
        for volume in store.volumes.map(\.info) where Expiry.isDeletable(volume, now: now) {
            logger.info(
                """
                volume \(volume.id): last written at \(volume.modifiedAtSecond), time to live \(volume.ttl) \
                is over: deleting it
                """)
            do {
                let store = store
                try await adminPool.runIfActive { try store.delete(volume.id) }
            } catch {
                logger.error("volume \(volume.id): could not be deleted after its time: \(error)")
            }
        }
    }
}
