import TestSupport

/// Everything a server answers about one file id that another server must answer too.
struct ServedFile: Sendable, Equatable {
    /// One answer.
    struct Answer: Sendable, Equatable {
        let status: Int
        let digest: String
        let headers: [String: String]
    }

    let fid: String
    var answers: [String: Answer] = [:]

    /// Headers that are part of the content, not of the server.
    static let compared: Set<String> = [
        "accept-ranges", "content-disposition", "content-encoding", "content-length",
        "content-range", "content-type", "etag", "last-modified", "x-file-store",
    ]

    /// Asks in every way.
    ///
    /// - Parameter pairs: Names of `Seaweed-` headers that were stored.
    init(_ fid: String, pairs: [String], from client: HTTPClient) throws {
        self.fid = fid
        let requests: [(String, String, String, [(String, String)])] = [
            ("get", "GET", "", []), ("head", "HEAD", "", []),
            ("gzip", "GET", "", [("Accept-Encoding", "gzip")]),
            ("range", "GET", "", [("Range", "bytes=1-3")]),
            ("tail", "GET", "", [("Range", "bytes=-2")]),
            ("raw manifest", "GET", "?cm=false", []), ("download", "GET", "?dl=true", []),
        ]
        let wanted = Self.compared.union(pairs.map { $0.lowercased() })
        for (name, method, query, headers) in requests {
            let response = try client.request(method, "/\(fid)\(query)", headers: headers)
            var kept: [String: String] = [:]
            for (field, value) in response.headers where wanted.contains(field.lowercased()) {
                kept[field.lowercased()] = value
            }
            // Servers rightly differ about the last bytes of nothing.
            if name == "tail" && answers["get"]?.headers["content-length"] == "0" { continue }
            answers[name] = Answer(
                status: response.status, digest: Digest.sha256(response.body),
                headers: response.status < 300 ? kept : [:])
        }
    }

    /// The differences to another server's answers.
    func differences(to other: ServedFile) -> [String] {
        answers.keys.sorted().compactMap { name in
            guard let mine = answers[name], let theirs = other.answers[name] else { return nil }
            if mine == theirs { return nil }
            if mine.status != theirs.status {
                return "\(fid) \(name): \(mine.status), elsewhere \(theirs.status)"
            }
            if mine.digest != theirs.digest && mine.status < 300 {
                return "\(fid) \(name): other bytes"
            }
            for field in Set(mine.headers.keys).union(theirs.headers.keys).sorted()
            where mine.headers[field] != theirs.headers[field] {
                let here = mine.headers[field] ?? "absent"
                return "\(fid) \(name): \(field) \(here), "
                    + "elsewhere \(theirs.headers[field] ?? "absent")"
            }
            return nil
        }
    }
}
