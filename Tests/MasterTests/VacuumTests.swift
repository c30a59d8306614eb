import Model
import Synchronization
import Testing
import Wire

@testable import Master

@Suite struct VacuumTests {
    private func cluster(
        _ copies: String = "000", servers count: Int = 1, volumes: ClosedRange<VolumeID> = 1...3
    ) async throws -> (MasterCore, [FakeServer]) {
        let core = try await makeCore()
        let servers = (0..<count).map { FakeServer("s\($0):1", slots: ["": 20]) }
        for server in servers {
            for id in volumes {
                server.add(
                    VolumeInfo(
                        id: id, replication: try ReplicaPlacement(parsing: copies), size: 5000,
                        fileCount: 10, deleteCount: 5, deletedByteCount: 2500))
            }
            _ = try await core.report(server.report, from: server)
        }
        return (core, servers)
    }

    @Test func onlyVolumesAboveTheThresholdAreCompacted() async throws {
        let (core, servers) = try await cluster()
        servers[0].state.withLock { $0.garbage = [1: 0.2, 2: 0.31, 3: 0.9] }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3)) == 2)
        #expect(servers[0].calls == ["compact 2", "commit 2", "compact 3", "commit 3"])
        core.shared.withLock {
            #expect($0.topology.volumes[2]?.reason == nil)
            #expect($0.topology.volumes[2]?.isVacuuming == false)
        }
    }

    @Test func copiesOfAVolumeAreCompactedOneAfterTheOther() async throws {
        let (core, servers) = try await cluster("001", servers: 2, volumes: 1...4)
        for server in servers {
            server.state.withLock { $0.garbage = [1: 0.9, 2: 0.9, 3: 0.9, 4: 0.9] }
        }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3)) == 4)
        for server in servers {
            #expect(server.calls.count == 8)
            #expect(server.state.withLock { $0.mostRunning } == 1)
        }
    }

    @Test func aFailureIsCleanedUpAndLeftAloneForAWhile() async throws {
        let (core, servers) = try await cluster(volumes: 1...1)
        servers[0].state.withLock {
            $0.garbage = [1: 0.9]
            $0.compactFailure = PeerError(.failed, "disk full")
        }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3, isAutomatic: true)) == 0)
        #expect(servers[0].calls == ["compact 1", "cleanup 1"])
        #expect(core.shared.withLock { $0.topology.volumes[1]?.reason } == nil)
        servers[0].state.withLock { $0.compactFailure = nil }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3, isAutomatic: true)) == 0)
        #expect(servers[0].calls.count == 2)
        // Whoever asks for it by hand is not made to wait.
        #expect(await core.vacuum(VacuumWish(threshold: 0.3)) == 1)
    }

    @Test func aVolumeThatEndsReadOnlyIsNotWritable() async throws {
        let (core, servers) = try await cluster(volumes: 1...1)
        servers[0].state.withLock {
            $0.garbage = [1: 0.9]
            $0.commitsReadOnly = true
        }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3)) == 1)
        #expect(
            core.shared.withLock { $0.topology.volumes[1]?.reason?.description }
                == "read-only on s0:1: read-only since it was vacuumed")
    }

    @Test func volumesWithMissingCopiesAreLeftAlone() async throws {
        let (core, servers) = try await cluster("001", servers: 1, volumes: 1...1)
        servers[0].state.withLock { $0.garbage = [1: 0.9] }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3)) == 0)
        #expect(servers[0].calls.isEmpty)
    }
}

@Suite struct VacuumOfCopiesTests {
    private func cluster() async throws -> (MasterCore, [FakeServer]) {
        let core = try await makeCore()
        let servers = (0..<3).map { FakeServer("s\($0):1", slots: ["": 20]) }
        for server in servers {
            server.add(
                VolumeInfo(
                    id: 1, replication: try ReplicaPlacement(parsing: "002"), size: 5000,
                    fileCount: 10, deleteCount: 5, deletedByteCount: 2500))
            server.state.withLock { $0.garbage = [1: 0.5] }
            _ = try await core.report(server.report, from: server)
        }
        return (core, servers)
    }

    @Test func nothingIsSwitchedUnlessEveryCopyIsReady() async throws {
        let (core, servers) = try await cluster()
        servers[2].state.withLock { $0.compactFailure = PeerError(.failed, "disk full") }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3)) == 0)
        for server in servers { #expect(server.calls == ["compact 1", "cleanup 1"]) }
        core.shared.withLock {
            #expect($0.topology.volumes[1]?.reason == nil)
            #expect($0.topology.servers.values.allSatisfy { !$0.isVacuuming })
            #expect($0.vacuumFailures[1]?.count == 1)
        }
        servers[2].state.withLock { $0.compactFailure = nil }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3)) == 1)
        for server in servers { #expect(server.calls.suffix(2) == ["compact 1", "commit 1"]) }
        #expect(core.shared.withLock { $0.vacuumFailures.isEmpty })
    }

    @Test func aCopyWithoutGarbageIsLeftAsItIs() async throws {
        let (core, servers) = try await cluster()
        servers[0].state.withLock { $0.garbage = [1: 0] }
        servers[1].state.withLock { $0.garbage = [1: 0.1] }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3)) == 1)
        #expect(servers[0].calls.isEmpty)
        #expect(servers[1].calls == ["compact 1", "commit 1"])
    }

    @Test func aCopyThatGoesMeanwhileStopsIt() async throws {
        let (core, servers) = try await cluster()
        servers[0].state.withLock { $0.onCompact = { core.disconnected(servers[2].id) } }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3)) == 0)
        for server in servers { #expect(server.calls == ["compact 1", "cleanup 1"]) }
        #expect(
            core.topology.volumes[1]?.reason?.description
                == "2 of 3 copies connected: on s0:1, s1:1")
    }

    @Test func onlyWhatIsWishedIsVacuumed() async throws {
        let (core, servers) = try await cluster()
        #expect(await core.vacuum(VacuumWish(threshold: 0.3, volume: 2)) == 0)
        #expect(await core.vacuum(VacuumWish(threshold: 0.3, collection: "x")) == 0)
        core.shared.withLock { $0.isVacuumDisabled = true }
        #expect(await core.vacuum(VacuumWish(threshold: 0.3, isAutomatic: true)) == 0)
        #expect(servers.flatMap(\.calls).isEmpty)
        #expect(await core.vacuum(VacuumWish(threshold: 0.3, volume: 1)) == 1)
    }
}

@Suite struct EmptyVolumeTests {
    @Test func volumesThatStayEmptyForTheirTimeAreDeletedEverywhere() async throws {
        let core = try await makeCore()
        let servers = (0..<2).map { FakeServer("s\($0):1") }
        let ttl = try TimeToLive(parsing: "1h")
        let two = try ReplicaPlacement(parsing: "001")
        for server in servers {
            server.add(VolumeInfo(id: 1, replication: two, ttl: ttl))
            server.add(VolumeInfo(id: 2, replication: two))
            server.add(VolumeInfo(id: 3, replication: two, ttl: ttl, size: 99, fileCount: 1))
            _ = try await core.report(server.report, from: server)
        }
        let now = ContinuousClock.now
        await core.deleteEmptyVolumes(now: now)
        await core.deleteEmptyVolumes(now: now + .seconds(3599))
        #expect(core.topology.volumes[1]?.reason == nil)
        await core.deleteEmptyVolumes(now: now + .seconds(3600))
        #expect(core.topology.volumes[1]?.reason == .retiring)
        await core.deleteEmptyVolumes(now: now + .seconds(3659))
        #expect(servers[0].calls.isEmpty)
        await core.deleteEmptyVolumes(now: now + .seconds(3660))
        for server in servers { #expect(server.calls == ["delete 1"]) }
        #expect(core.topology.volumes.keys.sorted() == [2, 3])
        core.topology.checkInvariants()
    }

    @Test func aFileThatArrivesMeanwhileSavesTheVolume() async throws {
        let core = try await makeCore()
        let server = FakeServer("s:1")
        server.add(VolumeInfo(id: 1, ttl: try TimeToLive(parsing: "1h")))
        _ = try await core.report(server.report, from: server)
        let now = ContinuousClock.now
        await core.deleteEmptyVolumes(now: now)
        await core.deleteEmptyVolumes(now: now + .seconds(3600))
        #expect(core.topology.volumes[1]?.reason == .retiring)
        server.change(1) { $0.fileCount = 1 }
        _ = try await core.report(server.report, from: server)
        await core.deleteEmptyVolumes(now: now + .seconds(7300))
        #expect(core.topology.volumes[1]?.reason == nil)
        #expect(server.calls.isEmpty)
    }
}
