import Model
import Testing

@Suite struct ReplicaPlacementTests {
    @Test func everyStoredByteSurvives() throws {
        for byte in UInt8.min...UInt8.max {
            let placement = ReplicaPlacement(stored: byte)
            #expect(placement.stored == byte)
            #expect(try ReplicaPlacement(parsing: placement.description) == placement)
        }
    }

    @Test(arguments: [("", "000", 1), ("1", "001", 2), ("12", "012", 4), ("112", "112", 5)])
    func parsing(_ text: String, _ shown: String, _ copies: Int) throws {
        let placement = try ReplicaPlacement(parsing: text)
        #expect(placement.description == shown)
        #expect(placement.copies == copies)
    }

    @Test(arguments: ["abc", "256", "999", "0001", "-1", "+1", " 1", "1 ", "٣"])
    func refusal(_ text: String) {
        #expect {
            try ReplicaPlacement(parsing: text)
        } throws: { error in
            "\(error)" == "unexpected replication type: \(text)"
        }
    }
}

@Suite struct TimeToLiveTests {
    @Test(arguments: [
        ("", ""), ("0", ""), ("0m", ""), ("3m", "3m"), ("12", "12m"), ("60m", "1h"), ("24h", "1d"),
        ("90m", "90m"), ("7d", "1w"), ("90d", "3M"), ("365d", "1y"), ("300m", "5h"),
        ("257m", "4h"), ("256y", "255y"), ("1M", "1M"), ("2w", "2w"),
    ])
    func normalised(_ text: String, _ shown: String) throws {
        #expect(try TimeToLive(parsing: text).description == shown)
    }

    @Test(arguments: [
        ("ab", "strconv.Atoi: parsing \"ab\": invalid syntax"),
        ("xm", "strconv.Atoi: parsing \"x\": invalid syntax"),
        ("m", "strconv.Atoi: parsing \"\": invalid syntax"),
        ("-1h", "strconv.Atoi: parsing \"-1\": invalid syntax"),
        ("99999999999999999999d", "strconv.Atoi: parsing \"99999999999999999999\": invalid syntax"),
        ("5x", "unknown unit in ttl \"5x\": use m, h, d, w, M or y, as in 3m or 90d"),
    ])
    func refusal(_ text: String, _ message: String) {
        #expect {
            try TimeToLive(parsing: text)
        } throws: { error in
            "\(error)" == message
        }
    }

    @Test func storedBytes() {
        let days = TimeToLive(stored: 3, 3)
        #expect(days.seconds == 3 * 86400)
        #expect(TimeToLive(stored: 0, 3).isNone)
        #expect(TimeToLive(stored: 3, 0).isNone)
        #expect(TimeToLive(stored: 3, 99) == .none)
        #expect(TimeToLive.none.description.isEmpty)
    }

    @Test func shownTextGivesTheSameAgain() throws {
        for minutes in [1, 59, 60, 61, 255, 256, 1440, 10080, 43200, 525_600, 1_000_003] as [UInt64]
        {
            let ttl = TimeToLive(minutes: minutes)
            #expect(try TimeToLive(parsing: ttl.description) == ttl)
            #expect(ttl.seconds <= minutes * 60)
        }
    }
}

@Suite struct VolumeInfoTests {
    @Test func garbageIsAShareOfWhatFollowsTheHeader() {
        #expect(VolumeInfo(id: 1).garbageRatio == 0)
        #expect(VolumeInfo(id: 1, size: 108, deletedByteCount: 25).garbageRatio == 0.25)
        #expect(!VolumeInfo(id: 1).isReadOnly)
        #expect(VolumeInfo(id: 1, readOnlyReason: "").isReadOnly)
    }
}
