import Model
import Platform
import Testing

@testable import Master

@Suite struct MasterStateTests {
    private func request(_ low: UInt64) -> RequestID { RequestID(high: 1, low: low) }

    @Test func topologyIDIsSetOnce() {
        var state = MasterState()
        #expect(state.apply(.setTopologyID("")) == .refused(.topologyID("")))
        #expect(state.apply(.setTopologyID("a")) == .topologyID("a"))
        #expect(state.apply(.setTopologyID("b")) == .topologyID("a"))
        #expect(state.topologyID == "a")
    }

    @Test func volumeIDsAreComputedAtApply() {
        var state = MasterState()
        #expect(state.apply(.allocateVolumeIDs(count: 3, request: request(1))) == .volumeIDs(1..<4))
        #expect(state.apply(.allocateVolumeIDs(count: 2, request: request(2))) == .volumeIDs(4..<6))
        #expect(state.maxVolumeID == 5)
    }

    @Test func repeatedAllocationGivesTheSameIDs() {
        var state = MasterState()
        _ = state.apply(.allocateVolumeIDs(count: 3, request: request(1)))
        _ = state.apply(.allocateVolumeIDs(count: 1, request: request(2)))
        let before = state
        #expect(state.apply(.allocateVolumeIDs(count: 3, request: request(1))) == .volumeIDs(1..<4))
        #expect(state == before)
    }

    @Test func allocationsAreForgottenAfterMany() {
        var state = MasterState()
        for low in 0...UInt64(MasterState.rememberedAllocations) {
            _ = state.apply(.allocateVolumeIDs(count: 1, request: request(low)))
        }
        #expect(state.allocations.count == MasterState.rememberedAllocations)
        #expect(state.apply(.allocateVolumeIDs(count: 1, request: request(1))) == .volumeIDs(2..<3))
        #expect(
            state.apply(.allocateVolumeIDs(count: 1, request: request(0))) == .volumeIDs(258..<259))
    }

    @Test func reportedVolumeIDsRaiseWithinABound() {
        var state = MasterState()
        #expect(state.apply(.raiseMaxVolumeID(9)) == .maxVolumeID(9))
        #expect(state.apply(.raiseMaxVolumeID(4)) == .maxVolumeID(9))
        let far = 9 + MasterState.volumeIDJump + 1
        #expect(
            state.apply(.raiseMaxVolumeID(far)) == .refused(.volumeIDJump(reported: far, max: 9)))
        #expect(state.apply(.raiseMaxVolumeID(far - 1)) == .maxVolumeID(far - 1))
    }

    @Test func volumeIDsNeverWrap() {
        var state = MasterState()
        while state.maxVolumeID < .max - MasterState.volumeIDJump {
            _ = state.apply(.raiseMaxVolumeID(state.maxVolumeID + MasterState.volumeIDJump))
        }
        let max = state.maxVolumeID
        let step = MasterCommand.allocateVolumeIDs(count: .max, request: request(1))
        #expect(state.apply(step) == .refused(.volumeIDsExhausted(max: max, count: .max)))
        _ = state.apply(.raiseMaxVolumeID(.max - 1))
        #expect(state.maxVolumeID == VolumeID.max - 1)
        #expect(
            state.apply(.allocateVolumeIDs(count: 1, request: request(2)))
                == .refused(.volumeIDsExhausted(max: .max - 1, count: 1)))
    }

    @Test func keyZeroIsNeverReserved() {
        var state = MasterState()
        #expect(state.apply(.reserveKeys(count: 10)) == .keys(1..<11))
        #expect(state.apply(.reserveKeys(count: 5)) == .keys(11..<16))
    }

    @Test func reportedKeysRaiseTheCeilingWithinABound() {
        var state = MasterState()
        #expect(state.apply(.raiseKeyCeiling(100)) == .keyCeiling(101))
        #expect(state.apply(.raiseKeyCeiling(50)) == .keyCeiling(101))
        #expect(state.apply(.raiseKeyCeiling(.max)) == .refused(.keyJump(reported: .max)))
        #expect(state.apply(.reserveKeys(count: 1)) == .keys(101..<102))
        let last = MasterState.reportedKeyLimit - 1
        #expect(state.apply(.raiseKeyCeiling(last)) == .keyCeiling(last + 1))
        #expect(state.apply(.reserveKeys(count: 2)) == .keys(last + 1..<last + 3))
    }

    @Test func keysNeverWrap() throws {
        var state = try #require(
            MasterState(topologyID: nil, maxVolumeID: 0, keyCeiling: .max - 2, allocations: []))
        #expect(
            state.apply(.reserveKeys(count: 3))
                == .refused(.keysExhausted(ceiling: .max - 2, count: 3)))
        #expect(state.apply(.reserveKeys(count: 2)) == .keys(.max - 2 ..< .max))
    }

    /// Random commands, mostly sensible.
    static func randomCommand(_ random: inout SeededGenerator) -> MasterCommand {
        switch Int.random(in: 0..<6, using: &random) {
        case 0: .setTopologyID("t\(UInt8.random(in: 0...9, using: &random))")
        case 1:
            .allocateVolumeIDs(
                count: .random(in: 0...20, using: &random),
                request: RequestID(high: 0, low: .random(in: 0...400, using: &random)))
        case 2: .raiseMaxVolumeID(.random(in: 0...(1 << 21), using: &random))
        case 3: .reserveKeys(count: .random(in: 0...(1 << 33), using: &random))
        case 4: .raiseKeyCeiling(.random(in: 0...(1 << 40), using: &random))
        default: .raiseKeyCeiling(random.next())
        }
    }

    @Test func sameCommandsGiveTheSameStateAndIDsAreDisjoint() throws {
        var system = SystemRandomNumberGenerator()
        let seed = system.next()
        var random = SeededGenerator(seed: seed)
        var one = MasterState()
        var other = MasterState()
        var keysSoFar: NeedleKey = 1
        var given: [RequestID: Range<VolumeID>] = [:]
        var idsSoFar: VolumeID = 0
        for step in 0..<5000 {
            let command = MasterStateTests.randomCommand(&random)
            let result = one.apply(command)
            // The other master reads the log as bytes, and restarts from a snapshot now and then.
            let copy = try MasterCommand(decoding: command.encoded)
            #expect(copy == command, "seed \(seed), step \(step)")
            #expect(other.apply(copy) == result, "seed \(seed), step \(step)")
            if step % 37 == 0 { other = try MasterState(decoding: other.encoded) }
            #expect(one == other, "seed \(seed), step \(step)")
            switch (command, result) {
            case (_, .keys(let keys)):
                #expect(keys.lowerBound >= keysSoFar, "seed \(seed), step \(step)")
                keysSoFar = keys.upperBound
            case (.allocateVolumeIDs(_, let request), .volumeIDs(let ids)):
                if one.allocations.last?.request == request, given[request] != ids {
                    #expect(ids.lowerBound > idsSoFar, "seed \(seed), step \(step)")
                }
                given[request] = ids
            default: break
            }
            idsSoFar = max(idsSoFar, one.maxVolumeID)
        }
    }
}

@Suite struct MasterCodingTests {
    @Test func everyCommandSurvives() throws {
        let commands: [MasterCommand] = [
            .setTopologyID("6f3c666f-1111-4222-8333-444455556666"), .setTopologyID("é"),
            .allocateVolumeIDs(count: 7, request: RequestID(high: .max, low: 0)),
            .raiseMaxVolumeID(.max), .reserveKeys(count: .max), .raiseKeyCeiling(0),
        ]
        for command in commands {
            #expect(try MasterCommand(decoding: command.encoded) == command)
        }
    }

    @Test func layoutOfTheBytesIsFixed() throws {
        var state = MasterState()
        _ = state.apply(.setTopologyID("ab"))
        _ = state.apply(.allocateVolumeIDs(count: 2, request: RequestID(high: 1, low: 2)))
        _ = state.apply(.reserveKeys(count: 4))
        #expect(
            state.encoded == [
                1, 0, 2, 0x61, 0x62, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1,
                0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2,
            ])
        #expect(
            MasterCommand.reserveKeys(count: 258).encoded == [1, 4, 0, 0, 0, 0, 0, 0, 1, 2])
    }

    @Test func damageIsAnError() {
        #expect(throws: MasterCodingError.version(found: 9, expected: 1)) {
            try MasterState(decoding: [9])
        }
        #expect(throws: MasterCodingError.truncated(at: 0, wanted: 1, length: 0)) {
            try MasterCommand(decoding: [])
        }
        #expect(throws: MasterCodingError.unknownCommand(77)) {
            try MasterCommand(decoding: [1, 77])
        }
        #expect(throws: MasterCodingError.trailing(at: 6, length: 7)) {
            try MasterCommand(decoding: MasterCommand.raiseMaxVolumeID(1).encoded + [0])
        }
        var bytes = MasterState().encoded
        bytes[14] = 0
        #expect(throws: MasterCodingError.contradictory) { try MasterState(decoding: bytes) }
    }

    @Test func randomBytesNeverCrash() throws {
        var system = SystemRandomNumberGenerator()
        let seed = system.next()
        var random = SeededGenerator(seed: seed)
        var state = MasterState()
        for _ in 0..<300 { _ = state.apply(MasterStateTests.randomCommand(&random)) }
        let whole = state.encoded
        var accepted = 0
        for _ in 0..<20_000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[Int.random(in: bytes.indices, using: &random)] = UInt8(
                    truncatingIfNeeded: random.next())
            }
            if Bool.random(using: &random) {
                bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random))
            }
            // Whatever is accepted is a state that can be used and kept.
            if let decoded = try? MasterState(decoding: bytes) {
                accepted += 1
                #expect(decoded.encoded == bytes, "seed \(seed)")
            }
        }
        #expect(accepted > 0, "seed \(seed)")
    }
}
