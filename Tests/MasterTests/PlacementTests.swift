import Model
import Platform
import Testing

@testable import Master

@Suite struct PlacementTests {
    private typealias Candidate = PlacementCandidate

    /// Whether any choice fits, by trying every server as the first.
    private static func isPossible(_ servers: [PlacementCandidate], _ want: ReplicaPlacement)
        -> Bool
    {
        let free = servers.filter { $0.free > 0 }
        return free.contains { first in
            let center = free.filter { $0.dataCenter == first.dataCenter }
            let rack = center.filter { $0.rack == first.rack }
            let racks = Set(center.map(\.rack)).subtracting([first.rack])
            let centers = Set(free.map(\.dataCenter)).subtracting([first.dataCenter])
            return rack.count > Int(want.sameRack) && racks.count >= Int(want.otherRacks)
                && centers.count >= Int(want.otherDataCenters)
        }
    }

    /// What is wrong with a choice; `nil` when it fits.
    private static func fault(
        _ chosen: [ServerKey], _ servers: [PlacementCandidate], _ want: ReplicaPlacement
    ) -> String? {
        let holders = chosen.compactMap { key in servers.first { $0.key == key } }
        guard holders.count == want.copies, Set(chosen).count == want.copies else {
            return "\(chosen.count) servers"
        }
        guard holders.allSatisfy({ $0.free > 0 }) else { return "a full server" }
        let first = holders[0]
        let center = holders.filter { $0.dataCenter == first.dataCenter }
        let rack = center.filter { $0.rack == first.rack }
        guard rack.count == Int(want.sameRack) + 1 else { return "\(rack.count) in the rack" }
        guard Set(center.map(\.rack)).count == Int(want.otherRacks) + 1,
            center.count == rack.count + Int(want.otherRacks)
        else { return "racks" }
        guard Set(holders.map(\.dataCenter)).count == Int(want.otherDataCenters) + 1 else {
            return "data centers"
        }
        return nil
    }

    private static func randomServers(_ random: inout SeededGenerator) -> [PlacementCandidate] {
        var servers: [PlacementCandidate] = []
        for center in 0..<Int.random(in: 1...4, using: &random) {
            for rack in 0..<Int.random(in: 1...4, using: &random) {
                for _ in 0..<Int.random(in: 0...4, using: &random) {
                    servers.append(
                        PlacementCandidate(
                            key: servers.count, url: "s\(servers.count)",
                            dataCenter: "dc\(center)", rack: "r\(rack)",
                            free: max(0, Int.random(in: -2...3, using: &random))))
                }
            }
        }
        return servers.shuffled(using: &random)
    }

    @Test func randomTopologiesHoldTheRuleOrAreRefusedRightly() throws {
        var system = SystemRandomNumberGenerator()
        let seed = system.next()
        var random = SeededGenerator(seed: seed)
        var placed = 0
        var refused = 0
        for round in 0..<1000 {
            let servers = PlacementTests.randomServers(&random)
            for digits in 0..<27 {
                let text = "\(digits / 9)\(digits / 3 % 3)\(digits % 3)"
                let want = try ReplicaPlacement(parsing: text)
                let place = "seed \(seed), round \(round), \(text)"
                let possible = PlacementTests.isPossible(servers, want)
                do {
                    let chosen = try Placement(servers, replication: want).choose(random: &random)
                    let fault = PlacementTests.fault(chosen, servers, want)
                    #expect(possible && fault == nil, "\(place): \(fault ?? "not possible")")
                    placed += 1
                } catch {
                    #expect(!possible, "\(place): \(error)")
                    refused += 1
                }
            }
        }
        #expect(placed > 1000 && refused > 1000, "seed \(seed)")
    }

    @Test func freeSlotsAreWeights() throws {
        var random = SeededGenerator(seed: 1)
        let servers = [
            Candidate(key: 1, url: "a", dataCenter: "d", rack: "r", free: 1),
            Candidate(key: 2, url: "b", dataCenter: "d", rack: "q", free: 3),
        ]
        var second = 0
        for _ in 0..<4000
        where try Placement(servers, replication: .single).choose(random: &random) == [2] {
            second += 1
        }
        #expect((2850...3150).contains(second), "\(second) of 4000, expected about 3000")
    }

    @Test func whereaboutsBindTheFirstCopy() throws {
        var random = SeededGenerator(seed: 1)
        let servers = [
            Candidate(key: 1, url: "a", dataCenter: "d1", rack: "r", free: 9),
            Candidate(key: 2, url: "b", dataCenter: "d2", rack: "r", free: 1),
            Candidate(key: 3, url: "c", dataCenter: "d2", rack: "q", free: 1, isNamed: true),
        ]
        func first(_ whereabouts: Whereabouts, _ text: String = "000") throws -> ServerKey? {
            try Placement(
                servers, replication: ReplicaPlacement(parsing: text), whereabouts: whereabouts
            ).choose(random: &random).first
        }
        #expect(try first(Whereabouts(dataCenter: "d2", rack: "r")) == 2)
        #expect(try first(Whereabouts(node: "c")) == 3)
        #expect(try first(Whereabouts(dataCenter: "d1"), "100") == 1)
    }

    private func refusal(
        _ servers: [PlacementCandidate], _ text: String, _ whereabouts: Whereabouts = Whereabouts()
    ) throws -> String {
        var random = SeededGenerator(seed: 1)
        do {
            let chosen = try Placement(
                servers, replication: ReplicaPlacement(parsing: text), whereabouts: whereabouts
            ).choose(random: &random)
            return "chose \(chosen)"
        } catch let error as PlacementRefusal {
            return error.description
        }
    }

    @Test func refusalsSayWhy() throws {
        let one = [Candidate(key: 1, url: "a", dataCenter: "d", rack: "r", free: 5)]
        let head = "No matching data node found! \n"
        let tail = "\na has room for 5"
        #expect(try refusal(one, "010") == head + "d:Only has 1 racks, not enough for 2." + tail)
        #expect(
            try refusal(one, "001") == head + "r:Only has 1 data nodes, not enough for 2." + tail)
        #expect(
            try refusal(one, "100")
                == head + "d:Only 0 other data centers with a slot, not enough for 1." + tail)
        #expect(
            try refusal(one, "000", Whereabouts(dataCenter: "x"))
                == head + "d:Not matching preferred data center:x" + tail)
        #expect(
            try refusal(one, "000", Whereabouts(rack: "x"))
                == head + "r:Not matching preferred rack:x" + tail)
        #expect(
            try refusal(one, "000", Whereabouts(node: "x"))
                == head + "r:Not matching preferred data node:x" + tail)
        let full = [
            Candidate(key: 1, url: "a", dataCenter: "d", rack: "r", free: 0, state: "a is full")
        ]
        #expect(try refusal(full, "000") == head + "d:Free:0 < Expected:1\na is full")
        #expect(try refusal([], "000") == head)
    }
}
