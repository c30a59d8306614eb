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
        #expect(await core.vacuum(threshold: 0.3) == 2)
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
        #expect(await core.vacuum(threshold: 0.3) == 4)
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
        #expect(await core.vacuum(threshold: 0.3, isAutomatic: true) == 0)
        #expect(servers[0].calls == ["compact 1", "cleanup 1"])
        #expect(core.shared.withLock { $0.topology.volumes[1]?.reason } == nil)
        servers[0].state.withLock { $0.compactFailure = nil }
        #expect(await core.vacuum(threshold: 0.3, isAutomatic: true) == 0)
        #expect(servers[0].calls.count == 2)
        // Whoever asks for it by hand is not made to wait.
        #expect(await core.vacuum(threshold: 0.3) == 1)
    }

    @Test func aVolumeThatEndsReadOnlyIsNotWritable() async throws {
        let (core, servers) = try await cluster(volumes: 1...1)
        servers[0].state.withLock {
            $0.garbage = [1: 0.9]
            $0.commitsReadOnly = true
        }
        #expect(await core.vacuum(threshold: 0.3) == 1)
        #expect(
            core.shared.withLock { $0.topology.volumes[1]?.reason?.description }
                == "read-only on s0:1: read-only since it was vacuumed")
    }

    @Test func volumesWithMissingCopiesAreLeftAlone() async throws {
        let (core, servers) = try await cluster("001", servers: 1, volumes: 1...1)
        servers[0].state.withLock { $0.garbage = [1: 0.9] }
        #expect(await core.vacuum(threshold: 0.3) == 0)
        #expect(servers[0].calls.isEmpty)
    }
}
