import TestSupport

/// Uploads of every kind the format can hold, through a running server.
struct RoundTripUploads {
    /// File ids whose answers are compared, deleted ones included.
    private(set) var fids: [String] = []
    /// File ids of empty files.
    private(set) var empty: Set<String> = []
    /// File ids of a chunk manifest and its chunks: a manifest whose chunk was changed is broken.
    private(set) var chunked: Set<String> = []
    private(set) var faults: [String] = []
    /// Names of the stored header pairs.
    static let pairs = ["Owner", "Cache-Control", "X-Marks"]

    private let master: HTTPClient
    private let volume: HTTPClient
    private var seed: Seed

    init(_ server: ServerProcess, seed: Seed) {
        master = HTTPClient(port: server.masterPort)
        volume = HTTPClient(port: server.volumePort)
        self.seed = seed
    }

    /// Reserves one file id, or several under one.
    mutating func assign(_ query: String = "") throws -> String {
        let answer = try master.get("/dir/assign\(query)")
        let text = answer.text
        guard answer.status == 200, let start = text.firstRange(of: "\"fid\":\"") else {
            throw RoundTripError(what: "assign answers \(answer.status) \(text)")
        }
        return String(text[start.upperBound...].prefix { $0 != "\"" })
    }

    private mutating func put(
        _ fid: String, _ file: MultipartFile, query: String = "", headers: [(String, String)] = []
    ) throws {
        let answer = try volume.upload("/\(fid)\(query)", file, headers: headers)
        if answer.status != 201 && answer.status != 204 {
            faults.append("upload of \(fid) answers \(answer.status) \(answer.text)")
        }
        if !fids.contains(fid) { fids.append(fid) }
        if file.data.isEmpty { empty.insert(fid) } else { empty.remove(fid) }
    }

    private mutating func remove(_ fid: String) throws {
        let answer = try volume.delete("/\(fid)")
        if answer.status != 202 { faults.append("delete of \(fid) answers \(answer.status)") }
    }

    mutating func run() throws {
        try everyPadding()
        try namesAndTypes()
        try compressed()
        try changed()
        try manifest()
        try special()
    }

    private mutating func everyPadding() throws {
        let first = try assign("?count=24")
        for number in 0..<24 {
            let fid = number == 0 ? first : "\(first)_\(number)"
            try put(fid, MultipartFile(seed.bytes(number), name: "p.bin"))
        }
    }

    private mutating func namesAndTypes() throws {
        let names: [String?] = [
            nil, "a.txt", "två ord.pdf", "x.tar.gz", "%41.png", "semi;colon.jpg", "noext",
            String(repeating: "n", count: 255), String(repeating: "m", count: 300) + ".bin",
        ]
        for name in names {
            try put(try assign(), MultipartFile(seed.bytes(200), name: name))
            let typed = MultipartFile(seed.bytes(77), name: name, type: "application/x-own; v=1")
            try put(try assign(), typed)
        }
        let raw = try assign()
        let answer = try volume.request(
            "PUT", "/\(raw)", headers: [("Content-Type", "application/octet-stream")],
            body: seed.bytes(1234))
        if answer.status != 201 { faults.append("raw upload answers \(answer.status)") }
        fids.append(raw)
    }

    private mutating func compressed() throws {
        let text = Array(String(repeating: "compressible text, again and again. ", count: 300).utf8)
        try put(try assign(), MultipartFile(text, name: "t.txt"))
        try put(try assign(), MultipartFile(text, name: "t.html", type: "text/html"))
        try put(try assign(), MultipartFile(text, name: "t.json", type: "application/json"))
        // "hello", gzip with a stored block: what a client may send already compressed.
        let gzipped: [UInt8] =
            [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 5, 0, 0xfa, 0xff] + Array("hello".utf8)
            + [0x86, 0xa6, 0x10, 0x36, 5, 0, 0, 0]
        let part = MultipartFile(
            gzipped, name: "h.txt", type: "text/plain", headers: [("Content-Encoding", "gzip")])
        try put(try assign(), part)
    }

    private mutating func changed() throws {
        for number in 0..<12 {
            let fid = try assign()
            try put(fid, MultipartFile(seed.bytes(400 + number), name: "old.bin"))
            switch number % 6 {
            case 0: try put(fid, MultipartFile(seed.bytes(90 * number + 1), name: "new.bin"))
            case 1: try remove(fid)
            case 2:
                try remove(fid)
                try put(fid, MultipartFile(seed.bytes(55), name: "again.bin"))
            case 3: try put(fid, MultipartFile([], name: "emptied.bin"))
            case 4:
                let same = seed.bytes(64)
                try put(fid, MultipartFile(same, name: "same.bin"))
                try put(fid, MultipartFile(same, name: "same.bin"))
            default:
                try put(fid, MultipartFile([], name: "emptied.bin"))
                try put(fid, MultipartFile(seed.bytes(31), name: "filled.bin"))
            }
        }
    }

    private mutating func manifest() throws {
        var chunks: [String] = []
        var offset = 0
        for size in [3000, 1, 70000] {
            let fid = try assign()
            try put(fid, MultipartFile(seed.bytes(size), name: "big-\(offset)"))
            chunked.insert(fid)
            chunks.append("{\"fid\":\"\(fid)\",\"offset\":\(offset),\"size\":\(size)}")
            offset += size
        }
        let text =
            "{\"name\":\"big.bin\",\"mime\":\"application/x-big\",\"size\":\(offset),"
            + "\"chunks\":[\(chunks.joined(separator: ","))]}"
        let file = MultipartFile(Array(text.utf8), name: "big.bin", type: "application/json")
        let fid = try assign()
        try put(fid, file, query: "?cm=true")
        chunked.insert(fid)
    }

    private mutating func special() throws {
        try put(try assign(), MultipartFile(seed.bytes(10), name: "ttl.bin"), query: "?ttl=3d")
        try put(
            try assign(), MultipartFile(seed.bytes(10), name: "ts.bin"), query: "?ts=1234567890")
        let headers = [
            ("Seaweed-Owner", "alice <a&b>"), ("Seaweed-Cache-Control", "max-age=7"),
            ("Seaweed-X-Marks", "é\""),
        ]
        try put(try assign(), MultipartFile(seed.bytes(99), name: "pairs.bin"), headers: headers)
        try put(try assign(), MultipartFile(seed.bytes(3 << 20), name: "large.bin"))
        try put(
            try assign("?collection=my_pics"), MultipartFile(seed.bytes(500), name: "in.jpg"))
        try put(
            try assign("?ttl=5w"), MultipartFile(seed.bytes(500), name: "in-ttl-volume.bin"))
    }
}

/// What stops a round trip.
struct RoundTripError: Error, CustomStringConvertible {
    let what: String
    var description: String { what }
}
