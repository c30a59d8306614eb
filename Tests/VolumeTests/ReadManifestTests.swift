import Testing

@testable import Volume

@Suite("Reads of chunked files over the wire")
struct ReadManifestTests {
    private static let path = "/3,01637037d6"

    /// Stores two chunks and a manifest that joins them with a gap of five bytes.
    private static func store(
        _ server: ServiceFixture, _ first: [UInt8], _ second: [UInt8]
    ) async throws -> String {
        _ = try await server.post("/3,0200000002", first, filename: "a.txt")
        _ = try await server.post("/3,0300000003", second)
        let offset = first.count + 5
        let json = """
            {"name":"big.bin","mime":"application/x-big","size":\(offset + second.count),"chunks":[\
            {"fid":"3,0300000003","offset":\(offset),"size":\(second.count)},\
            {"fid":"3,0200000002","offset":0,"size":\(first.count)}]}
            """
        let posted = try await server.post(
            path + "?cm=true", Array(json.utf8), filename: "m.json", type: "application/json")
        #expect(posted.status == 201)
        return json
    }

    @Test(
        "chunks are joined, whole and in parts, compressed ones unpacked", arguments: [10, 600_000])
    func join(count: Int) async throws {
        try await ServiceFixture.run { server in
            let first = [UInt8](repeating: 0x61, count: count)
            let second = Array("second".utf8)
            let json = try await Self.store(server, first, second)
            let all = first + [0, 0, 0, 0, 0] + second
            let whole = try await server.send("GET", Self.path)
            #expect(whole.status == 200)
            #expect(whole.body == all)
            #expect(whole["content-type"] == "application/x-big")
            #expect(whole["content-disposition"] == "inline; filename=big.bin")
            #expect(whole["x-file-store"] == "chunked")
            let head = try await server.send("HEAD", Self.path)
            #expect(head["content-length"] == "\(all.count)")
            let part = try await server.send("GET", Self.path, [("Range", "bytes=-13")])
            #expect(part.status == 206)
            #expect(part.body == Array(all.suffix(13)))
            let raw = try await server.send("GET", Self.path + "?cm=false")
            #expect(raw.text == json)
            #expect(raw["x-file-store"] == nil)
        }
    }

    @Test("a missing first chunk is an error, a later one breaks the connection")
    func missing() async throws {
        try await ServiceFixture.run { server in
            _ = try await Self.store(server, Array("first".utf8), Array("second".utf8))
            _ = try await server.send("DELETE", "/3,0300000003")
            let broken = try await server.send("GET", Self.path)
            #expect(broken.status == 200)
            #expect(broken["content-length"] == "16")
            #expect(broken.body.count < 16)
            _ = try await server.send("DELETE", "/3,0200000002")
            let answer = try await server.send("GET", Self.path)
            #expect(answer.status == 500)
            #expect(answer.text == "Read chunk needle error: [404] 3,0200000002\n")
            #expect(answer["x-file-store"] == "chunked")
            #expect(answer["x-content-type-options"] == "nosniff")
        }
    }

    @Test("manifests that name themselves or other manifests are errors, not loops")
    func loops() async throws {
        try await ServiceFixture.run { server in
            let chunk = { (fid: String) in
                Array(#"{"chunks":[{"fid":"\#(fid)","offset":0,"size":9}]}"#.utf8)
            }
            _ = try await server.post("/3,0400000004?cm=true", chunk("3,0400000004"))
            let own = try await server.send("GET", "/3,0400000004")
            #expect(own.status == 500)
            #expect(own.text == "chunk manifest 3,0400000004 names itself as a chunk\n")
            _ = try await server.post("/3,0500000005?cm=true", chunk("3,0400000004"))
            let other = try await server.send("GET", "/3,0500000005")
            #expect(other.status == 500)
            #expect(other.text.hasSuffix("the chunk is a manifest itself\n"))
        }
    }
}

extension Array where Element == UInt8 {
    /// Where other bytes first occur.
    func firstRange(of other: [UInt8]) -> Range<Int>? { self[...].firstRange(of: other) }
}

extension ArraySlice where Element == UInt8 {
    /// Where other bytes first occur.
    func firstRange(of other: [UInt8]) -> Range<Int>? {
        guard let start = indices.first(where: { self[$0...].starts(with: other) }) else {
            return nil
        }
        return start..<start + other.count
    }
}
