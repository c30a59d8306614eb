import Glibc
import TestSupport
import Testing

/// Some golden directories that one server can hold together, each with its own volumes.
struct GoldenGroup: Sendable, CustomTestStringConvertible {
    let cases: [GoldenSetup]
    var testDescription: String { "\(cases.count) directories from \(cases[0].name)" }

    /// All cases, shared out so that no volume id occurs twice in a group.
    static func all(excluding excluded: Set<String> = []) throws -> [GoldenGroup] {
        let golden = try GoldenCase.all()
        let before = golden.first { $0.name == "11-compacted/before" }
        var groups: [[GoldenSetup]] = []
        for one in golden where !excluded.contains(one.name) {
            let setup = GoldenSetup(one, compactionOf: before)
            let place = groups.firstIndex { group in
                group.allSatisfy { $0.volumes.isDisjoint(with: setup.volumes) }
            }
            if let place { groups[place].append(setup) } else { groups.append([setup]) }
        }
        return groups.map(GoldenGroup.init)
    }
}

/// One golden directory as it is put before a server.
struct GoldenSetup: Sendable {
    let name: String
    /// File name and where it comes from.
    let files: [(name: String, source: String)]
    let entries: [GoldenManifest.Entry]
    let volumes: Set<Int>
    let writeAfterLoad: GoldenManifest.Answer?

    /// - Parameter compactionOf: The volume that the `tool-` directories are the copy of.
    init(_ golden: GoldenCase, compactionOf: GoldenCase?) {
        name = golden.name
        volumes = Set(golden.manifest.volumes.map(\.volumeID))
        writeAfterLoad = golden.manifest.writeAfterLoad
        var sources = golden.files.map { ($0, golden.directory + "/" + $0) }
        if name.hasPrefix("27-") { sources.removeAll { $0.0.hasSuffix(".idx") } }
        var entries = golden.manifest.entries ?? []
        if name.hasPrefix("11-compacted/tool-"), let compactionOf {
            sources += compactionOf.files.map { ($0, compactionOf.directory + "/" + $0) }
            entries = compactionOf.manifest.entries ?? []
        }
        files = sources
        self.entries = entries
    }

    /// Copies the volume files into a data directory.
    func install(in directory: String) throws {
        for (name, source) in files { try Files.copy(source, to: directory + "/" + name) }
    }
}

/// Compares a server's answers with the manifests.
struct GoldenCheck {
    /// Bytes every needle had before anything was damaged: SHA-256 by key and cookie.
    let intact: [String: String]
    /// Apply `GoldenDifferences`; without, every answer must be as recorded.
    let withDifferences: Bool
    private(set) var faults: [String] = []
    private(set) var compared = 0
    /// Allowed differences that were seen.
    private(set) var differences: [String] = []

    init(withDifferences: Bool) throws {
        self.withDifferences = withDifferences
        var intact: [String: String] = [:]
        for golden in try GoldenCase.all() where !golden.name.hasPrefix("13-") {
            for entry in golden.manifest.entries ?? [] where entry.state == "live" {
                intact[entry.needleID + entry.cookie] = entry.sha256
            }
        }
        self.intact = intact
    }

    /// Asks for every entry in every recorded way.
    mutating func check(_ setup: GoldenSetup, _ client: HTTPClient, _ moment: String) throws {
        for entry in setup.entries {
            for kind in entry.http.keys.sorted() {
                guard let answer = entry.http[kind] else { continue }
                let response = try GoldenRequest(entry, kind).send(on: client)
                compared += 1
                let place = "\(setup.name) \(entry.fid) \(kind) \(moment)"
                let fault = judge(setup, entry, kind, answer, response)
                if let fault { faults.append("\(place): \(fault)") }
            }
        }
    }

    private mutating func judge(
        _ setup: GoldenSetup, _ entry: GoldenManifest.Entry, _ kind: String,
        _ answer: GoldenManifest.Answer, _ response: HTTPResponse
    ) -> String? {
        let key = String(entry.needleID.drop { $0 == "0" })
        if let end = entry.expiresAtUnix, end < time(nil) {
            return response.status == 404 ? nil : "status \(response.status), but it has expired"
        }
        guard withDifferences else { return Self.compare(response, answer, kind) }
        let (expectation, reason) = GoldenDifferences.of(setup.name, key: key)
        if kind == "get_wrong_cookie" {
            if GoldenDifferences.cookieIsLost(setup.name, key: key) { return nil }
            // Also where the original answers 200: it does not look at the cookie of an empty file.
            let strict = expectation == .recorded && answer.status != 500
            let allowed: Set<Int> = strict ? [404] : [404, 500, 503]
            return allowed.contains(response.status)
                ? nil : "status \(response.status) for a wrong cookie"
        }
        if expectation != .recorded, Self.compare(response, answer, kind) != nil, kind == "get" {
            differences.append(
                "\(setup.name) \(entry.fid): \(answer.status) there, \(response.status) here: "
                    + (reason ?? ""))
        }
        switch expectation {
        case .recorded: return Self.compare(response, answer, kind)
        case .intact: return intactFault(entry, kind, response, statuses: [200])
        case .missing: return response.status == 404 ? nil : "status \(response.status), not 404"
        case .anyOf(let statuses): return intactFault(entry, kind, response, statuses: statuses)
        }
    }

    private func intactFault(
        _ entry: GoldenManifest.Entry, _ kind: String, _ response: HTTPResponse,
        statuses: Set<Int>
    ) -> String? {
        guard statuses.contains(response.status) else {
            return "status \(response.status), expected one of \(statuses.sorted())"
        }
        if response.status != 200 || kind == "head" { return nil }
        guard let expected = intact[entry.needleID + entry.cookie] else {
            return "200 for a needle nobody stored"
        }
        let found = Digest.sha256(response.body)
        return found == expected ? nil : "WRONG BYTES: sha256 \(found), stored \(expected)"
    }

    /// Headers that must be absent when the record has none.
    private static let significant = [
        "Content-Disposition", "Content-Encoding", "Content-Type", "Etag", "Last-Modified",
        "X-File-Store", "Accept-Ranges",
    ]

    /// The first difference between an answer and the record.
    static func compare(
        _ response: HTTPResponse, _ answer: GoldenManifest.Answer, _ kind: String
    ) -> String? {
        guard response.status == answer.status else {
            return "status \(response.status), recorded \(answer.status)"
        }
        guard response.status == 200 else { return nil }
        if kind != "head", let expected = answer.sha256 {
            let found = Digest.sha256(response.body)
            if found != expected { return "WRONG BYTES: sha256 \(found), recorded \(expected)" }
        }
        guard let recorded = answer.headers else { return nil }
        for (name, value) in recorded.sorted(by: { $0.key < $1.key }) {
            let found = response[name]
            if found != value {
                return "\(name): \(found ?? "absent"), recorded \(value)"
            }
        }
        for name in significant where recorded[name] == nil {
            if let found = response[name] { return "\(name): \(found), recorded absent" }
        }
        return nil
    }
}

/// The request that an answer of a manifest belongs to.
struct GoldenRequest {
    let method: String
    let path: String
    var headers: [(String, String)] = []

    init(_ entry: GoldenManifest.Entry, _ kind: String) {
        method = kind == "head" ? "HEAD" : "GET"
        switch kind {
        case "get_readDeleted": path = "/\(entry.fid)?readDeleted=true"
        case "get_cm_false": path = "/\(entry.fid)?cm=false"
        case "get_wrong_cookie":
            let cookie = (UInt32(entry.cookie, radix: 16) ?? 0) ^ UInt32.max
            let hex = String(cookie, radix: 16)
            let padded = String(repeating: "0", count: 8 - hex.count) + hex
            path = "/\(entry.fid.dropLast(8))\(padded)"
        default: path = "/\(entry.fid)"
        }
        if kind == "get_accept_gzip" { headers = [("Accept-Encoding", "gzip")] }
    }

    func send(on client: HTTPClient) throws -> HTTPResponse {
        try client.request(method, path, headers: headers)
    }
}
