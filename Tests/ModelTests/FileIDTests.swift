import Model
import Testing

@Suite struct FileIDTests {
    @Test(arguments: [
        (FileID(volume: 3, key: 1, cookie: 0x6370_37d6), "3,01637037d6"),
        (FileID(volume: 44, key: 0x75, cookie: 0x7867_4256), "44,7578674256"),
        (FileID(volume: 5, key: 0x100, cookie: 0), "5,010000000000"),
        (FileID(volume: .max, key: .max, cookie: .max), "4294967295,ffffffffffffffffffffffff"),
        (FileID(volume: 1, key: 0, cookie: 7), "1,00000007"),
    ])
    func text(_ fid: FileID, _ text: String) {
        #expect(fid.description == text)
    }

    @Test(
        arguments: [
            ("3,01637037d6", 3, 1), ("3,01637037D6", 3, 1), ("3%2C01637037d6", 3, 1),
            ("3%2c1637037d6", 3, 1), ("003,00000001637037d6", 3, 1), ("3,01637037d6_2", 3, 3),
            ("4294967299,01637037d6", 3, 1),
        ] as [(String, VolumeID, NeedleKey)])
    func parsing(_ text: String, _ volume: VolumeID, _ key: NeedleKey) throws {
        let fid = try FileID(text)
        #expect(fid == FileID(volume: volume, key: key, cookie: 0x6370_37d6))
    }

    @Test(arguments: [
        ("12", "Invalid fid: 12"), ("3,", "Invalid fid: "), ("3,12345678", "Invalid fid: 12345678"),
        ("3,0123456789abcdef012345678", "Invalid fid: 0123456789abcdef012345678"),
        ("3,01637037dg", "Invalid fid: 01637037dg"), ("3,01637037d6_x", "Invalid fid delta: x"),
        ("3,01637037d6_", "Invalid fid delta: "),
        ("x,01637037d6", "strconv.ParseUint: parsing \"x\": invalid syntax"),
        (",01637037d6", "strconv.ParseUint: parsing \"\": invalid syntax"),
        ("3,ffffffffffffffff637037d6_1", "Invalid fid: ffffffffffffffff637037d6_1"),
    ])
    func refusal(_ text: String, _ message: String) {
        #expect {
            try FileID(text)
        } throws: { error in
            "\(error)" == message
        }
    }

    @Test func everyFileIDSurvivesItsText() throws {
        var system = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            let bits = Int.random(in: 0..<64, using: &system)
            let fid = FileID(
                volume: system.next(), key: max(1, system.next() >> UInt64(bits)),
                cookie: system.next())
            #expect(try FileID(fid.description) == fid)
        }
    }
}

@Suite struct VolumeNameTests {
    @Test(
        arguments: [
            ("7", "", 7), ("pics_7", "pics", 7), ("a_b_12", "a_b", 12), ("é_1", "é", 1),
        ] as [(String, String, VolumeID)])
    func parsing(_ base: String, _ collection: String, _ id: VolumeID) throws {
        let name = try #require(VolumeName(baseName: base))
        #expect(name == VolumeName(collection: collection, id: id))
        #expect(name.description == base)
    }

    @Test(arguments: ["", "_", "_7", "pics_", "pics", "7x", "4294967296", "-1", "a_-1", "a_+1"])
    func refusal(_ base: String) {
        #expect(VolumeName(baseName: base) == nil)
    }

    @Test func collectionsThatCannotBeFileNames() {
        #expect(VolumeName.isValid(collection: ""))
        #expect(VolumeName.isValid(collection: "pics-2024 é"))
        for bad in ["a/b", "a\\b", ".hidden", "..", "a\u{0}b", "a\nb", "\u{7f}"] {
            #expect(!VolumeName.isValid(collection: bad))
        }
        #expect(!VolumeName.isValid(collection: String(repeating: "a", count: 201)))
    }
}
