import AsyncHTTPClient
import NIOCore
import NIOHTTP1

/// Where a file is to be stored.
struct StorageWish: Sendable, Equatable {
    /// The collection; empty for the default one.
    var collection = ""
    /// Copies as `xyz`; empty for the master's default.
    var replication = ""
    /// Time to live; empty for ever.
    var ttl = ""
    /// The data center; empty for any.
    var dataCenter = ""
    /// The disk type; empty for any.
    var disk = ""

    /// As it stands in a query.
    func query(count: Int) -> String {
        var text = "count=\(count)"
        let fields = [
            ("collection", collection), ("replication", replication), ("ttl", ttl),
            ("dataCenter", dataCenter), ("disk", disk),
        ]
        for (name, value) in fields where !value.isEmpty {
            text += "&\(name)=\(ClusterClient.escaped(value))"
        }
        return text
    }
}

/// File ids to write to.
struct Assignment: Sendable, Equatable {
    /// The first of them.
    let fid: String
    /// `host:port` of the volume server as other servers reach it.
    let url: String
    /// `host:port` of the volume server as clients reach it.
    let publicURL: String
    /// The token that a write has to show, `Bearer …`; `nil` for none.
    let token: String?

    /// The id with the number `index`, from 0.
    func fid(_ index: Int) -> String { index == 0 ? fid : "\(fid)_\(index)" }
}

/// Who holds a file.
struct Locations: Sendable, Equatable {
    /// `host:port` of each holder.
    let urls: [String]
    /// The token that a request has to show; `nil` for none.
    let token: String?
}

extension ClusterClient {
    /// Takes `count` file ids of one volume.
    ///
    /// Waits while the master makes volumes, at most ``patienceSeconds``.
    func assign(_ wish: StorageWish, count: Int = 1) async throws(ClientError) -> Assignment {
        struct Reply: Decodable {
            var fid: String?
            var url: String?
            var publicUrl: String?
            var error: String?
        }
        let what = "assigning a file id"
        let deadline = ContinuousClock.now + .seconds(ClusterClient.patienceSeconds)
        while true {
            let (answer, master) = try await askMaster(
                what, "/dir/assign?\(wish.query(count: count))")
            guard let reply = answer.decoded(Reply.self) else {
                throw .malformed(what: what, address: master, why: answer.complaint)
            }
            if (200..<300).contains(answer.status), reply.error ?? "" == "", let fid = reply.fid,
                let url = reply.url
            {
                return Assignment(
                    fid: fid, url: url, publicURL: reply.publicUrl ?? url,
                    token: answer.headers.first(name: "Authorization"))
            }
            let seconds = min(answer.headers.first(name: "Retry-After").flatMap(Int.init) ?? 1, 5)
            let next = ContinuousClock.now + .milliseconds(max(200, seconds * 500))
            guard [502, 503].contains(answer.status), next < deadline else {
                throw .refused(
                    what: what, address: master, status: answer.status, text: answer.complaint)
            }
            try? await Task.sleep(until: next, clock: .continuous)
        }
    }

    /// Who holds a file.
    func locate(_ fid: String, forReading: Bool) async throws(ClientError) -> Locations {
        struct Reply: Decodable {
            struct Place: Decodable {
                var url: String?
                var publicUrl: String?
            }
            var locations: [Place]?
            var error: String?
        }
        let what = "looking up \(fid)"
        let read = forReading ? "&read=yes" : ""
        let (answer, master) = try await askMaster(
            what, "/dir/lookup?fileId=\(ClusterClient.escaped(fid))\(read)")
        guard let reply = answer.decoded(Reply.self) else {
            throw .malformed(what: what, address: master, why: answer.complaint)
        }
        let urls = (reply.locations ?? []).compactMap(\.url)
        guard answer.status == 200, !urls.isEmpty else {
            throw .refused(
                what: what, address: master, status: answer.status, text: answer.complaint)
        }
        return Locations(urls: urls, token: answer.headers.first(name: "Authorization"))
    }

    /// Deletes a file, the chunks of a chunked one included; returns the size the server tells.
    func delete(_ fid: String) async throws(ClientError) -> Int {
        struct Reply: Decodable { var size: Int? }
        let what = "deleting \(fid)"
        let places = try await locate(fid, forReading: false)
        var last = ClientError.badFileID(fid)
        for url in places.urls {
            var request = HTTPClientRequest(url: "http://\(url)/\(fid)")
            request.method = .DELETE
            if let token = places.token {
                request.headers.add(name: "Authorization", value: token)
            }
            do throws(ClientError) {
                let answer = try await ask(what, request, of: url)
                guard [200, 202].contains(answer.status) else {
                    let text = answer.status == 404 ? "no such file" : answer.complaint
                    throw .refused(what: what, address: url, status: answer.status, text: text)
                }
                return answer.decoded(Reply.self)?.size ?? 0
            } catch {
                guard error.isWorthAnotherTry else { throw error }
                last = error
            }
        }
        throw last
    }
}
