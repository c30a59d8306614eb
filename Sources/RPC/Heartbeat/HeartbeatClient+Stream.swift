internal import GRPCCore
internal import Synchronization
internal import Wire
internal import WireMessages

/// How a stream of reports ended.
struct HeartbeatEnd: Sendable {
    var problem: String
    /// The leader took at least one report.
    var wasMember = false
    /// Where the leader is said to be.
    var redirection: PeerAddress?
    /// Another server is said to have the same directories.
    var isDuplicate = false
}

extension HeartbeatClient {
    /// Reports to one master for as long as the stream lasts.
    func report(to leader: FoundLeader) async -> HeartbeatEnd {
        let master = leader.address
        let (wakes, wake) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let isStopping = state.withLock { state in
            state.wake = wake
            return state.isStopping
        }
        // a stop that came before it could wake this stream
        guard !isStopping else { return HeartbeatEnd(problem: "this server is stopping") }
        defer {
            state.withLock { $0.wake = nil }
            wake.finish()
        }
        let pulse = Task { [pulse = configuration.pulse] in
            while (try? await Task.sleep(for: pulse)) != nil { wake.yield() }
        }
        defer { pulse.cancel() }
        let watch = Answered()
        do {
            return try await channels.stream(master) { client, options in
                try await MasterPb_Seaweed.Client(wrapping: client).sendHeartbeat(
                    options: options,
                    requestProducer: { writer in
                        try await self.send(to: leader, writer, wakes, watch)
                    },
                    onResponse: { response in
                        try await self.listen(to: master, response, watch)
                    })
            }
        } catch {
            return HeartbeatEnd(problem: "\(error)", wasMember: watch.isSet)
        }
    }

    /// Whether the master answered on this stream.
    final class Answered: Sendable {
        private let flag = Atomic(false)

        var isSet: Bool { flag.load(ordering: .relaxed) }
        func set() { flag.store(true, ordering: .relaxed) }
    }

    private func send(
        to leader: FoundLeader, _ writer: RPCWriter<MasterPb_Heartbeat>,
        _ wakes: AsyncStream<Void>, _ answered: Answered
    ) async throws {
        let clock = ContinuousClock()
        let begun = clock.now
        var lastFull = begun
        var composer = HeartbeatComposer(id: configuration.id, leader: leader)
        guard let first = state.withLock({ $0.report }) else { return }
        try await writer.write(composer.full(first, topologyID: memory.topologyID))
        for await _ in wakes {
            let (report, isStopping) = state.withLock { ($0.report, $0.isStopping) }
            guard let report else { return }
            if isStopping {
                // the end of the requests ends the stream
                return try await writer.write(composer.farewell(report))
            }
            if !answered.isSet, clock.now - begun > HeartbeatClient.answerTime {
                throw PeerError(.unreachable, "\(leader.address) did not answer the first report")
            }
            let isDue = clock.now - lastFull >= configuration.pulse * 0.9
            if isDue || composer.needsFull(report) {
                lastFull = clock.now
                try await writer.write(composer.full(report, topologyID: memory.topologyID))
            } else if let delta = composer.delta(report) {
                try await writer.write(delta)
            }
        }
    }

    private func listen(
        to master: PeerAddress,
        _ response: StreamingClientResponse<MasterPb_HeartbeatResponse>, _ answered: Answered
    ) async throws -> HeartbeatEnd {
        for try await message in response.messages {
            if let foreign = foreignTopology(message.topologyID, master) {
                return HeartbeatEnd(problem: "\(foreign)", wasMember: answered.isSet)
            }
            if !message.duplicatedUuids.isEmpty {
                let ids = message.duplicatedUuids.prefix(8).map { String($0.prefix(64)) }
                return HeartbeatEnd(
                    problem: "master \(master) has another server with the same directories "
                        + "(\(ids.joined(separator: ", "))): stop one of the two, or remove "
                        + "vol_dir.uuid from a directory that was copied",
                    isDuplicate: true)
            }
            if let leader = PeerAddress(message.leader), leader != master {
                return HeartbeatEnd(
                    problem: "\(master) no longer leads, \(leader) does",
                    wasMember: answered.isSet, redirection: leader)
            }
            learn(masters: message.masters, topologyID: message.topologyID)
            answered.set()
            joined(master, volumeSizeLimit: message.volumeSizeLimit)
        }
        return HeartbeatEnd(
            problem: "\(master) ended the stream", wasMember: answered.isSet)
    }
}
