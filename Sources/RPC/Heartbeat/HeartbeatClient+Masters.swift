internal import GRPCCore
internal import Logging
internal import Synchronization
internal import Wire
internal import WireMessages

/// A leader that was found.
struct FoundLeader: Sendable {
    var address: PeerAddress
    /// Its cluster; empty for the Go original, which does not tell.
    var topologyID: String
}

extension HeartbeatClient {
    /// Finds the leader and reports to it, again and again, until the server stops.
    func run() async {
        var failures = 0
        var redirections = 0
        var next: FoundLeader?
        while !isOver {
            let leader: FoundLeader
            if let known = next {
                leader = known
                next = nil
            } else if let found = await findLeader() {
                leader = found
            } else {
                await pause(&failures)
                continue
            }
            let end = await report(to: leader)
            if end.wasMember { failures = 0 }
            if let other = end.redirection {
                redirections = end.wasMember ? 1 : redirections + 1
                if redirections <= HeartbeatClient.quickRedirections {
                    next = FoundLeader(address: other, topologyID: leader.topologyID)
                    continue
                }
            }
            redirections = 0
            left(end.problem)
            if end.isDuplicate {
                logger.error("\(end.problem)")
                try? await Task.sleep(for: HeartbeatClient.duplicatePause)
            }
            await pause(&failures)
        }
        left("this server is stopping")
    }

    private var isOver: Bool { Task.isCancelled || state.withLock { $0.isStopping } }

    private func pause(_ failures: inout Int) async {
        let doubled = HeartbeatClient.firstPause * (1 << min(failures, 10))
        failures += 1
        let longest = min(doubled, HeartbeatClient.longestPause)
        try? await Task.sleep(for: longest * Double.random(in: 0.5...1))
    }

    /// The masters it was told of, then those it remembers.
    var candidates: [PeerAddress] {
        var seen: Set<PeerAddress> = []
        let remembered = memory.masters.compactMap { PeerAddress($0) }
        return (configuration.masters + remembered).filter { seen.insert($0).inserted }
            .prefix(HeartbeatClient.masterLimit).map { $0 }
    }

    /// The leader, or while there is none every master.
    var mastersToAsk: [PeerAddress] {
        if let leader = membership?.master { return [leader] }
        return candidates
    }

    /// Asks every master at once who leads; the first that knows is believed.
    private func findLeader() async -> FoundLeader? {
        let candidates = candidates
        let result = await withTaskGroup(of: Result<FoundLeader, PeerError>.self) { group in
            for candidate in candidates {
                group.addTask {
                    do throws(PeerError) {
                        return .success(try await self.askForLeader(candidate))
                    } catch {
                        return .failure(error)
                    }
                }
            }
            var problems: [String] = []
            for await answer in group {
                switch answer {
                case .success(let leader):
                    group.cancelAll()
                    return Result<FoundLeader, PeerError>.success(leader)
                case .failure(let error): problems.append(error.description)
                }
            }
            let text = problems.sorted().joined(separator: "; ")
            return .failure(PeerError(.unreachable, text.isEmpty ? "no master is named" : text))
        }
        switch result {
        case .success(let leader): return leader
        case .failure(let error):
            left(error.description)
            return nil
        }
    }

    private func askForLeader(_ master: PeerAddress) async throws(PeerError) -> FoundLeader {
        let answer = try await channels.call(master, timeout: HeartbeatClient.answerTime) {
            client, options in
            try await MasterPb_Seaweed.Client(wrapping: client)
                .getMasterConfiguration(.init(), options: options)
        }
        let topologyID = answer.topologyID
        if let foreign = foreignTopology(topologyID, master) { throw foreign }
        guard let leader = PeerAddress(answer.leader) else {
            throw PeerError(.failed, "\(master) knows no leader")
        }
        learn(masters: answer.masters, topologyID: "")
        return FoundLeader(address: leader, topologyID: topologyID)
    }

    /// Why a master is not the one of this server's cluster; `nil` when it is, or does not tell.
    func foreignTopology(_ id: String, _ master: PeerAddress) -> PeerError? {
        let known = memory.topologyID
        guard !id.isEmpty, !known.isEmpty, id != known else { return nil }
        return PeerError(
            .refused,
            "master \(master) belongs to cluster \(id.prefix(64)), this server to \(known): "
                + "check -mserver, or give this server empty directories")
    }
}
