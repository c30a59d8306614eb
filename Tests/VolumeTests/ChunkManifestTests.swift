import Model
import NIOCore
import NIOPosix
import Needles
import Synchronization
import Testing

@testable import Volume

@Suite("Chunk manifests")
struct ChunkManifestTests {
    private static func parse(_ json: String) throws -> ChunkManifest? {
        try ChunkManifest.parse(ByteBuffer(string: json), of: ReadFixture.id)
    }

    private static func chunk(_ fid: String, _ offset: Int, _ size: Int) -> String {
        #"{"fid":"\#(fid)","offset":\#(offset),"size":\#(size)}"#
    }

    private static func manifest(_ chunks: [String]) -> String {
        #"{"name":"big.bin","mime":"x/y","size":20,"chunks":[\#(chunks.joined(separator: ","))]}"#
    }

    @Test("chunks are put in order, empty ones left out")
    func order() throws {
        let parsed = try Self.parse(
            Self.manifest([
                Self.chunk("42,0200000002", 11, 9), Self.chunk("42,0300000003", 5, 0),
                Self.chunk("42,0100000001", 0, 11),
            ]))
        let manifest = try #require(parsed)
        #expect(manifest.name == "big.bin")
        #expect(manifest.mime == "x/y")
        #expect(manifest.chunks.map(\.offset) == [0, 11])
        #expect(manifest.chunks.map(\.fileID.key) == [1, 2])
        #expect(manifest.length == 20)
        #expect([0, 10, 11, 19, 20].map { manifest.index(endingBehind: $0) } == [0, 0, 1, 1, 2])
    }

    @Test("what is no manifest", arguments: ["", "hello", "[]", "{", "1", #"{"chunks":1}"#, "{}x"])
    func noManifest(json: String) throws {
        #expect(try Self.parse(json) == nil)
    }

    @Test(
        "manifests that say nothing are empty files",
        arguments: ["{}", "null", #"{"chunks":null}"#])
    func empty(json: String) throws {
        #expect(try #require(try Self.parse(json)).length == 0)
    }

    @Test(
        "manifests that cannot be followed",
        arguments: [
            (chunk("", 0, 1), "chunk 0 of the manifest has no valid fid: "),
            (chunk("42,zz", 0, 1), "chunk 0 of the manifest has no valid fid: 42,zz"),
            (
                chunk("42,0100000001", -1, 1),
                "chunk 0 of the manifest has offset -1 and size 1, expected 0 to 70368744177664"
            ),
            (
                chunk("42,0100000001", 0, -5),
                "chunk 0 of the manifest has offset 0 and size -5, expected 0 to 70368744177664"
            ),
            (
                chunk("42,0100000001", .max, .max),
                "chunk 0 of the manifest has offset 9223372036854775807 and size "
                    + "9223372036854775807, expected 0 to 70368744177664"
            ),
            (
                chunk("42,0100000001", 0, 10) + "," + chunk("42,0200000002", 9, 1),
                "chunk 42,0200000002 of the manifest begins inside of chunk 42,0100000001"
            ),
            (chunk("3,01637037d6", 0, 1), "chunk manifest 3,01637037d6 names itself as a chunk"),
        ])
    func absurd(chunks: String, message: String) {
        let error = #expect(throws: ChunkManifestError.self) {
            try Self.parse(Self.manifest([chunks]))
        }
        #expect(error.map { "\($0)" } == message)
    }

    @Test("noise is an error or raw bytes, never a crash", arguments: [8, 9] as [UInt64])
    func noise(seed: UInt64) {
        var generator = ReadNoise(seed: seed)
        let pieces = [
            "{", "}", "[", "]", ",", ":", "\"chunks\"", "\"fid\"", "\"offset\"", "\"size\"",
            "\"3,01637037d6\"", "\"42,0100000001\"", "1e308", "-1", "9223372036854775808", "null",
        ]
        for _ in 0..<2000 {
            let json = generator.text(of: pieces, upTo: 16)
            let manifest = try? Self.parse(json)
            #expect((manifest ?? nil).map { $0.length <= ChunkManifest.maxLength } ?? true)
        }
    }

    /// Chunks in memory; remembers which were opened.
    private final class Chunks: ChunkFetcher {
        private let contents: [FileID: [UInt8]]
        private let opened = Mutex<[FileID]>([])

        init(_ contents: [FileID: [UInt8]]) { self.contents = contents }

        var openings: [FileID] { opened.withLock { $0 } }

        func open(
            _ chunk: FileID, on loop: any EventLoop
        ) -> EventLoopFuture<any ContentReader> {
            opened.withLock { $0.append(chunk) }
            guard let bytes = contents[chunk] else {
                return loop.makeFailedFuture(ChunkError(status: 404, fileID: chunk))
            }
            return loop.makeSucceededFuture(
                StoredReader(.bytes(ByteBuffer(bytes: bytes)), pool: .singleton))
        }
    }

    private static func id(_ key: UInt64) -> FileID { FileID(volume: 42, key: key, cookie: 1) }

    /// Everything a stream gives, read on its loop.
    private static func collect(
        _ manifest: ChunkManifest, _ ranges: [ByteRange], from chunks: Chunks
    ) async throws -> [UInt8] {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return try await loop.flatSubmit { () -> EventLoopFuture<[UInt8]> in
            let stream = ReadStream(
                ranges.map { .content($0) },
                from: ChunkManifestReader(manifest, fetcher: chunks))
            @Sendable func rest(_ collected: [UInt8]) -> EventLoopFuture<[UInt8]> {
                stream.next(on: loop).flatMap { piece in
                    guard let piece else { return loop.makeSucceededFuture(collected) }
                    return rest(collected + Array(piece.readableBytesView))
                }
            }
            return stream.prefetch(on: loop).flatMap { _ in rest([]) }
        }.get()
    }

    @Test("chunks are joined, gaps read as zeros, each chunk is opened once")
    func join() async throws {
        let first = [UInt8](repeating: 1, count: 600_000)
        let chunks = Chunks([Self.id(1): first, Self.id(2): Array("tail".utf8)])
        let json = Self.manifest([
            Self.chunk("42,0200000001", 700_000, 4), Self.chunk("42,0100000001", 0, 600_000),
        ])
        let manifest = try #require(try Self.parse(json))
        let whole = ByteRange(start: 0, length: manifest.length)
        let bytes = try await Self.collect(manifest, [whole], from: chunks)
        #expect(bytes == first + [UInt8](repeating: 0, count: 100_000) + Array("tail".utf8))
        #expect(chunks.openings == [Self.id(1), Self.id(2)])
    }

    @Test("parts of the whole open only the chunks they touch")
    func parts() async throws {
        let chunks = Chunks([Self.id(1): Array("hello ".utf8), Self.id(2): Array("world".utf8)])
        let json = Self.manifest([
            Self.chunk("42,0100000001", 0, 6), Self.chunk("42,0200000001", 6, 5),
        ])
        let manifest = try #require(try Self.parse(json))
        let tail = try await Self.collect(
            manifest, [ByteRange(start: 8, length: 2)], from: chunks)
        #expect(String(decoding: tail, as: UTF8.self) == "rl")
        #expect(chunks.openings == [Self.id(2)])
        let two = try await Self.collect(
            manifest, [ByteRange(start: 4, length: 4), ByteRange(start: 0, length: 2)], from: chunks
        )
        #expect(String(decoding: two, as: UTF8.self) == "o wohe")
    }

    @Test("a chunk that is missing or too short is an error")
    func missing() async throws {
        let chunks = Chunks([Self.id(2): Array("ab".utf8)])
        let missing = try #require(
            try Self.parse(Self.manifest([Self.chunk("42,0100000001", 0, 6)])))
        let range = ByteRange(start: 0, length: 6)
        let error = await #expect(throws: ChunkError.self) {
            try await Self.collect(missing, [range], from: chunks)
        }
        #expect(error.map { "\($0)" } == "Read chunk needle error: [404] 42,0100000001")
        let short = try #require(
            try Self.parse(Self.manifest([Self.chunk("42,0200000001", 0, 6)])))
        let second = await #expect(throws: ChunkError.self) {
            try await Self.collect(short, [range], from: chunks)
        }
        #expect(second?.status == 500)
    }
}
