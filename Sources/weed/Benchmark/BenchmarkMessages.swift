import Model
import NIOCore

/// The requests of the benchmark as bytes.
enum Requests {
    /// A GET.
    static func get(_ target: String, _ endpoint: Endpoint) -> ByteBuffer {
        ByteBuffer(string: "GET \(target) HTTP/1.1\r\nHost: \(endpoint.authority)\r\n\r\n")
    }

    /// A DELETE.
    static func delete(_ target: String, _ endpoint: Endpoint) -> ByteBuffer {
        ByteBuffer(string: "DELETE \(target) HTTP/1.1\r\nHost: \(endpoint.authority)\r\n\r\n")
    }

    /// An upload as forms send it.
    static func upload(
        _ file: FileID, to endpoint: Endpoint, _ plan: BenchmarkPlan
    ) -> ByteBuffer {
        let before = """
            --weedbenchmark\r
            Content-Disposition: form-data; name="file"\r
            Content-Type: application/octet-stream\r
            \r

            """
        let after = "\r\n--weedbenchmark--\r\n"
        let length = before.utf8.count + plan.size + after.utf8.count
        let head = """
            POST /\(file)\(plan.forcesSync ? "?fsync=true" : "") HTTP/1.1\r
            Host: \(endpoint.authority)\r
            Content-Type: multipart/form-data; boundary=weedbenchmark\r
            Content-Length: \(length)\r
            \r

            """
        var buffer = ByteBuffer()
        buffer.reserveCapacity(head.utf8.count + length)
        buffer.writeString(head)
        buffer.writeString(before)
        Payload.append(plan.size, of: file, seed: plan.seed, to: &buffer)
        buffer.writeString(after)
        return buffer
    }
}

/// What the answers of the servers say.
enum Answers {
    /// Checks the status.
    static func expect(
        _ statuses: [Int], _ answer: BenchmarkResponse, _ what: String
    ) throws(BenchmarkError) {
        guard !statuses.contains(answer.status) else { return }
        throw .answer("\(what): status \(answer.status) \(excerpt(answer.body))")
    }

    /// The file id and the volume server of an assign.
    static func assigned(
        _ answer: BenchmarkResponse
    ) throws(BenchmarkError) -> (FileID, Endpoint) {
        try expect([200], answer, "assign")
        guard let fid = field("fid", answer.body), let url = field("url", answer.body),
            let endpoint = Endpoint(url)
        else { throw .answer("assign: no fid and url in \(excerpt(answer.body))") }
        do {
            return (try FileID(fid), endpoint)
        } catch {
            throw .answer("assign: \(error.description)")
        }
    }

    /// Where a volume is.
    static func location(
        _ answer: BenchmarkResponse, _ volume: VolumeID
    ) throws(BenchmarkError) -> Endpoint {
        try expect([200], answer, "lookup of volume \(volume)")
        guard let url = field("url", answer.body), let endpoint = Endpoint(url) else {
            throw .answer("lookup of volume \(volume): no url in \(excerpt(answer.body))")
        }
        return endpoint
    }

    /// The first string field of that name, wherever it is nested.
    ///
    /// The masters' answers to assign and
    /// lookup have no strings in which a quote or a backslash could stand.
    static func field(_ name: String, _ body: ByteBuffer) -> String? {
        let bytes = body.readableBytesUInt8Span
        let key = Array("\"\(name)\":".utf8)
        guard bytes.count > key.count else { return nil }
        for i in 0..<bytes.count - key.count where bytes[i] == key[0] {
            guard (1..<key.count).allSatisfy({ bytes[i + $0] == key[$0] }) else { continue }
            var start = i + key.count
            while start < bytes.count, bytes[start] == 0x20 { start += 1 }
            guard start < bytes.count, bytes[start] == 0x22 else { return nil }
            guard let end = (start + 1..<bytes.count).first(where: { bytes[$0] == 0x22 }) else {
                return nil
            }
            return body.getString(
                at: body.readerIndex + start + 1, length: end - start - 1)
        }
        return nil
    }

    private static func excerpt(_ body: ByteBuffer) -> String {
        String(String(buffer: body).prefix(200).map { $0.isNewline ? " " : $0 })
    }
}
