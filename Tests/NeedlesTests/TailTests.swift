import Model
import NIOCore
import Platform
import Testing

@testable import Needles

/// Whatever a crash leaves behind the last whole needle: needles before it are fine, the rest is
/// kept aside and cut before the next write, not earlier.
@Suite struct TailTests {
    private func torn(_ bench: Bench) -> [String] {
        bench.scratch.names.filter { $0.contains(".torn-") }
    }

    /// A volume of three needles and what its last record is.
    private func prepared(last: (Volume) throws -> Void) throws -> (Bench, start: Int, end: Int) {
        let bench = Bench()
        let volume = try bench.create()
        try volume.put(1, pattern(1, 100))
        try volume.put(2, pattern(2, 33)) { $0.name = "two" }
        let start = Int(volume.info.size)
        try last(volume)
        let end = Int(volume.info.size)
        volume.abandonWithoutClosing()
        return (bench, start, end)
    }

    private func checkCuts(removingIndex: Bool, last: (Volume) throws -> Void) throws {
        let (bench, start, end) = try prepared(last: last)
        let whole = try bench.scratch.bytes("1.dat")
        let index = try #require(bench.indexFile)
        let indexBytes = try bench.scratch.bytes(index)
        for cut in start..<end {
            try bench.scratch.write("1.dat", Array(whole[..<cut]))
            for name in torn(bench) { try PosixDisk().remove(bench.scratch.file(name)) }
            bench.removeIndexes()
            if !removingIndex { try bench.scratch.write(index, indexBytes) }
            let (volume, report) = try bench.open()
            #expect(report.damages.isEmpty)
            #expect(try volume.get(1) == pattern(1, 100))
            // a record is whole without its padding
            let isWhole = volume.info.size >= UInt64(end)
            #expect(!isWhole || cut >= end - 8)
            if !isWhole { #expect(try volume.get(2) == pattern(2, 33)) }
            #expect(try bench.scratch.bytes("1.dat").count == cut, "opening cuts nothing")
            // of a record without data that is not whole, opening has made the header zeros
            let rest = Array(try bench.scratch.bytes("1.dat")[start...])
            #expect(rest == Array(whole[start..<cut]) || rest[..<16].allSatisfy { $0 == 0 })
            try volume.put(9, pattern(9, 20))
            #expect(try volume.get(9) == pattern(9, 20))
            #expect(volume.info.size % 8 == 0)
            let aside = torn(bench)
            if isWhole || rest.allSatisfy({ $0 == 0 }) {
                #expect(aside.isEmpty)
            } else {
                #expect(aside.count == 1)
                #expect(try aside.first.map { try bench.scratch.bytes($0) } == rest)
            }
            volume.close()
            let (again, second) = try bench.open()
            #expect(second.damages.isEmpty && second.scannedBytes == 0)
            #expect(try again.get(1) == pattern(1, 100) && again.get(9) == pattern(9, 20))
            again.close()
            let found = try records(bench)
            #expect(found.last.map { $0.end } == UInt64(try bench.scratch.bytes("1.dat").count))
        }
    }

    @Test func aWriteCutAnywhere() throws {
        try checkCuts(removingIndex: false) { try $0.put(3, pattern(3, 45)) { $0.name = "n" } }
    }

    @Test func aDeleteCutAnywhere() throws {
        try checkCuts(removingIndex: false) { try $0.drop(2) }
    }

    @Test func anEmptyFileCutAnywhere() throws {
        try checkCuts(removingIndex: false) { try $0.put(2, []) }
    }

    @Test func aWriteCutAnywhereWithoutAnIndex() throws {
        try checkCuts(removingIndex: true) { try $0.put(3, pattern(3, 45)) { $0.name = "n" } }
    }

    @Test(arguments: [8, 16, 24, 40, 64, 4096, 100_000])
    func zerosBehindTheLastNeedleGoSilently(_ count: Int) throws {
        let (bench, _, end) = try prepared { try $0.put(3, [3]) }
        try bench.scratch.edit("1.dat") { $0 += [UInt8](repeating: 0, count: count) }
        let (volume, report) = try bench.open()
        #expect(report.damages.isEmpty)
        #expect(!report.notes.contains { $0.contains("behind the last whole needle") })
        try volume.put(4, [4])
        #expect(torn(bench).isEmpty)
        #expect(try volume.get(3) == [3] && volume.get(4) == [4])
        #expect(volume.info.size == UInt64(end) + 40)
        volume.close()
    }

    @Test func zerosGoAtAStopWithoutAWrite() throws {
        let (bench, _, end) = try prepared { try $0.put(3, [3]) }
        try bench.scratch.edit("1.dat") { $0 += [UInt8](repeating: 0, count: 4096) }
        let (again, _) = try bench.open()
        #expect(try again.get(3) == [3])
        again.close()
        #expect(try bench.scratch.bytes("1.dat").count == end)
    }

    @Test(arguments: [1, 7, 8, 31, 32, 1000, 70_000])
    func garbageBehindTheLastNeedleIsKeptAside(_ count: Int) throws {
        let (bench, _, end) = try prepared { try $0.put(3, [3]) }
        let garbage = pattern(1234, count)
        try bench.scratch.edit("1.dat") { $0 += garbage }
        let (volume, report) = try bench.open()
        #expect(report.damages.isEmpty)
        #expect(torn(bench).isEmpty, "opening cuts nothing")
        #expect(throws: NeedleError.notFound(1, 77)) { try volume.drop(77) }
        try volume.put(4, [4])
        let aside = torn(bench)
        #expect(aside.count == 1)
        #expect(try aside.first.map { try bench.scratch.bytes($0) } == garbage)
        #expect(aside.first?.hasPrefix("1.torn-\(end)-") == true)
        volume.close()
        let (again, second) = try bench.open()
        #expect(second.notes.isEmpty)
        #expect(try again.get(3) == [3] && again.get(4) == [4])
        again.close()
    }

    @Test func aBatchTornAtEverySectorLosesNothingAcknowledged() throws {
        // records of one batch; each 512-byte sector of it may be missing
        let bench = Bench()
        let volume = try bench.create()
        for key in UInt64(1)...6 { try volume.put(key, pattern(key, 150)) }
        let start = Int(volume.info.size)
        for key in UInt64(1)...6 {
            switch key % 3 {
            case 0: try volume.drop(key)
            case 1: try volume.put(key, [])
            default: try volume.put(key, pattern(key + 100, 200))
            }
        }
        volume.abandonWithoutClosing()
        let whole = try bench.scratch.bytes("1.dat")
        let index = try #require(bench.indexFile)
        let indexBytes = try bench.scratch.bytes(index)
        let sectors = Array(start / 512...(whole.count - 1) / 512)
        for mask in 0..<(1 << sectors.count) {
            var bytes = whole
            for (bit, sector) in sectors.enumerated() where mask >> bit & 1 == 1 {
                let range = max(start, sector * 512)..<min(whole.count, sector * 512 + 512)
                for place in range { bytes[place] = 0 }
            }
            try bench.scratch.write("1.dat", bytes)
            bench.removeIndexes()
            try bench.scratch.write(index, indexBytes)
            let (again, _) = try bench.open()
            for key in UInt64(1)...6 {
                let found = try again.get(key)
                let old = pattern(key, 150)
                switch key % 3 {
                case 0: #expect(found == old || found == nil, "key \(key), mask \(mask)")
                case 1: #expect(found == old || found == [], "key \(key), mask \(mask)")
                default:
                    #expect(
                        found == old || found == pattern(key + 100, 200),
                        "key \(key), mask \(mask)")
                }
            }
            let live = try again.liveSet()
            again.close()
            // a later rebuild from the data file alone agrees
            bench.removeIndexes()
            let (rebuilt, _) = try bench.open()
            #expect(try rebuilt.liveSet() == live, "mask \(mask)")
            rebuilt.close()
        }
    }

    /// The format's checksum covers only the data.
    ///
    /// A power cut that loses the sector in which a record begins, or ends, must not leave a record
    /// with another cookie, key or kind.
    @Test func aRecordTornAtAnyMultipleOfEightIsNotTakenForWhole() throws {
        for kind in ["write", "empty", "delete", "named"] {
            let (bench, start, end) = try prepared { volume in
                switch kind {
                case "write": try volume.put(2, pattern(5, 21))
                case "empty": try volume.put(2, [])
                case "delete": try volume.drop(2)
                default:
                    try volume.put(2, pattern(5, 21)) {
                        $0.name = String(repeating: "x", count: 90)
                    }
                }
            }
            let whole = try bench.scratch.bytes("1.dat")
            let index = try #require(bench.indexFile)
            let indexBytes = try bench.scratch.bytes(index)
            for boundary in stride(from: start + 8, to: end, by: 8) {
                for losesFront in [true, false] {
                    var bytes = whole
                    let lost = losesFront ? start..<boundary : boundary..<end
                    for place in lost { bytes[place] = 0 }
                    try bench.scratch.write("1.dat", bytes)
                    bench.removeIndexes()
                    try bench.scratch.write(index, indexBytes)
                    let (volume, _) = try bench.open()
                    let found = try volume.read(2, cookie: 0xc0ffee)
                    let text =
                        "\(kind), \(losesFront ? "front" : "back") lost to \(boundary - start)"
                    let isOld = try found?.allBytes() == pattern(2, 33) && found?.nameText == "two"
                    #expect(isOld || boundary >= end - 8, "\(text)")
                    #expect(try volume.get(2, cookie: 0) == nil, "\(text)")
                    volume.close()
                }
            }
        }
    }
}
