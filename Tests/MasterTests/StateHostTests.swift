import Model
import Platform
import Testing
import Wire

@testable import Master

@Suite struct StateHostTests {
    @Test func answersFollowDurability() async throws {
        let memory = MemoryState()
        let host = try await SingleNodeHost(recovering: memory)
        #expect(try await host.propose(.reserveKeys(count: 5)) == .keys(1..<6))
        let again = try await SingleNodeHost(recovering: memory)
        #expect(again.state == host.state)
        #expect(again.appliedIndex == 1)
        #expect(try await again.propose(.reserveKeys(count: 5)) == .keys(6..<11))
    }

    @Test func proposalsInABatchAreInOrderAndDisjoint() async throws {
        let memory = MemoryState()
        let host = try await SingleNodeHost(recovering: memory)
        let windows = try await withThrowingTaskGroup(of: MasterResult.self) { group in
            for _ in 0..<500 { group.addTask { try await host.propose(.reserveKeys(count: 3)) } }
            return try await group.reduce(into: [Range<NeedleKey>]()) {
                if case .keys(let keys) = $1 { $0.append(keys) }
            }
        }
        #expect(windows.count == 500)
        #expect(Set(windows.flatMap { Array($0) }).count == 1500)
        #expect(host.appliedIndex == 500)
        #expect(memory.commitCount <= 500)
    }

    @Test func aCommandThatChangesNothingIsNotCommitted() async throws {
        let memory = MemoryState()
        let host = try await SingleNodeHost(recovering: memory)
        _ = try await host.propose(.setTopologyID("a"))
        #expect(try await host.propose(.setTopologyID("b")) == .topologyID("a"))
        #expect(memory.commitCount == 1)
        #expect(host.appliedIndex == 1)
    }

    @Test(arguments: [MemoryState.Fault.before, .after])
    func afterAFailedCommitNothingIsAccepted(_ fault: MemoryState.Fault) async throws {
        let memory = MemoryState()
        let host = try await SingleNodeHost(recovering: memory)
        _ = try await host.propose(.reserveKeys(count: 5))
        memory.failNext(fault)
        await #expect(throws: ProposalError.self) { try await host.propose(.reserveKeys(count: 5)) }
        await #expect(throws: ProposalError.self) { try await host.propose(.reserveKeys(count: 5)) }
        #expect(host.state.keyCeiling == 6)
        // A restart goes on from what is on disk; what may have been given out is not given out
        // again.
        let again = try await SingleNodeHost(recovering: memory)
        let first: NeedleKey = fault == .before ? 6 : 11
        #expect(try await again.propose(.reserveKeys(count: 5)) == .keys(first..<first + 5))
    }

    @Test func entriesAfterTheStateAreApplied() async throws {
        struct Kept: DurableState {
            let kept: KeptState
            func recover() async throws -> KeptState { kept }
            func commit(entries: [[UInt8]], index: UInt64, state: [UInt8]) async throws {}
        }
        var state = MasterState()
        _ = state.apply(.reserveKeys(count: 9))
        let host = try await SingleNodeHost(
            recovering: Kept(
                kept: KeptState(
                    index: 1, state: state.encoded,
                    entries: [MasterCommand.reserveKeys(count: 10).encoded])))
        #expect(host.state.keyCeiling == 20)
        #expect(host.appliedIndex == 2)
    }

    /// Random assigns, reports and crashes: no key is ever given out twice.
    @Test func noKeyTwiceAcrossCrashes() async throws {
        var system = SystemRandomNumberGenerator()
        let seed = system.next()
        var random = SeededGenerator(seed: seed)
        var memory = MemoryState()
        let server = FakeServer("127.0.0.1:8080", slots: ["": 8])
        var given: [ClosedRange<NeedleKey>] = []
        var largest: NeedleKey = 0
        for life in 0..<20 {
            let core = try await makeCore(state: memory) { $0.warmUpSeconds = 0 }
            _ = try await core.report(server.report, from: server)
            // The largest key of which the master has said that it knows.
            var reported = largest
            for step in 0..<Int.random(in: 1...60, using: &random) {
                let place = "seed \(seed), life \(life), step \(step)"
                switch Int.random(in: 0..<10, using: &random) {
                case 0 where server.report.volumes.first?.id == 1:
                    // A client wrote a key of its own choice.
                    largest = max(largest, given.last?.upperBound ?? 0)
                    largest += .random(in: 0...30_000, using: &random)
                    let key = largest
                    server.change(1) { $0.maxKey = key }
                    // After a failed commit the report is refused, as assigns for lack of keys are.
                    if (try? await core.report(server.report, from: server)) != nil {
                        reported = largest
                    }
                case 1 where step > 10:
                    memory.failNext(Bool.random(using: &random) ? .before : .after)
                default:
                    let count = UInt64.random(in: 1...6000, using: &random)
                    guard let assigned = try? await core.assign(wish(count: count)) else { break }
                    let keys = assigned.fid.key...assigned.fid.key + count - 1
                    #expect(keys.lowerBound > reported, "\(place)")
                    #expect(!given.contains { $0.overlaps(keys) }, "\(place)")
                    given.append(keys)
                }
            }
            memory = memory.afterCrash()
        }
        #expect(given.count > 100, "seed \(seed)")
    }
}

@Suite struct KeyWindowsTests {
    @Test func keysComeInOrderWithoutGaps() {
        var keys = KeyWindows()
        #expect(keys.take(1) == nil)
        #expect(keys.startRefill() == true)
        #expect(keys.startRefill() == false)
        keys.finishRefill(1..<101)
        #expect(keys.take(1) == 1)
        #expect(keys.take(48) == 2)
        #expect(keys.startRefill() == false)
        #expect(keys.take(1) == 50)
        #expect(keys.startRefill() == true)
        keys.finishRefill(501..<601)
        #expect(keys.take(50) == 51)
        #expect(keys.take(10) == 501)
    }

    @Test func aWindowTooSmallIsSkipped() {
        var keys = KeyWindows()
        keys.finishRefill(1..<11)
        keys.finishRefill(100..<200)
        #expect(keys.take(11) == 100)
        #expect(keys.take(500) == nil)
        #expect(keys.take(1) == 111)
    }

    @Test func keysUpToAReportedOneAreSkipped() {
        var keys = KeyWindows()
        keys.finishRefill(1..<11)
        keys.finishRefill(100..<200)
        keys.skip(through: 4)
        #expect(keys.take(1) == 5)
        keys.skip(through: 150)
        #expect(keys.remaining == 49)
        #expect(keys.take(1) == 151)
        keys.skip(through: .max)
        #expect(keys.take(1) == nil)
    }

    @Test func windowsHoldTenSeconds() {
        var keys = KeyWindows()
        let start = ContinuousClock.now
        #expect(keys.refillCount(now: start) == KeyWindows.smallest)
        keys.finishRefill(1..<1_000_001)
        _ = keys.take(100_000)
        #expect(keys.refillCount(now: start + .seconds(1)) == 1_000_000)
        _ = keys.take(10)
        #expect(keys.refillCount(now: start + .seconds(2)) == KeyWindows.smallest)
        _ = keys.take(800_000)
        #expect(keys.refillCount(now: start + .milliseconds(2001)) == KeyWindows.largest)
    }
}
