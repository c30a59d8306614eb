import Glibc
import TestSupport
import Testing

extension BlackBox {
    /// Bodies that are too large to hold, in pieces of many sizes: each arrives whole and in time.
    @Suite struct LargeUploads {
        /// How the length of a body is told.
        enum Form: String, CaseIterable, Sendable { case sized, chunked, multipart }

        @Test(arguments: Form.allCases)
        func everySizeArrives(_ form: Form) async throws {
            let seed = Seed("large uploads, \(form.rawValue)")
            let faults = try await onThread { try Self.run(form, seed) }
            for fault in faults { Issue.record(Comment(rawValue: fault)) }
        }

        private static func run(_ form: Form, _ start: Seed) throws -> [String] {
            var seed = start
            let directory = try TemporaryDirectory("large-uploads")
            let server = try ServerProcess(.init(directory: directory.path))
            let master = HTTPClient(port: server.masterPort)
            let volume = HTTPClient(port: server.volumePort)
            var faults: [String] = []
            var sizes = stride(from: 16 << 10, to: 1 << 20, by: 16 << 10).map { $0 }
            sizes += [5 << 20, 20 << 20]
            for size in sizes {
                let assigned = try master.get("/dir/assign").text
                let fid = assigned.split(separator: "\"").dropFirst(3).first.map(String.init)
                guard let fid else { return ["no file id in \(assigned)"] }
                if faults.count >= faultLimit { break }
                let data = seed.bytes(size)
                let piece = Int.random(in: 4000...60_000, using: &seed)
                let what = "\(size) bytes, \(form.rawValue), in pieces of \(piece)"
                do {
                    let status = try send(data, to: fid, form, piece, server.volumePort)
                    if status != 201 { faults.append("\(what): status \(status)") }
                    let back = try volume.get("/\(fid)").body
                    if back != data { faults.append("\(what): reads back as \(back.count) bytes") }
                } catch {
                    faults.append("\(what): \(error)")
                }
            }
            if server.stop() != .code(0) { faults.append("no clean stop: \(server.logExcerpt)") }
            return faults
        }

        /// Faults after which it is not worth waiting for more.
        private static let faultLimit = 3
        /// Bytes sent piece by piece.
        private static let slowBytes = 600 << 10

        private static func send(
            _ data: [UInt8], to fid: String, _ form: Form, _ piece: Int, _ port: Int
        ) throws -> Int {
            let body = form == .multipart ? MultipartFile(data, name: "l.bin").encoded : data
            var type = "application/octet-stream"
            if form == .multipart {
                type = "multipart/form-data; boundary=\(MultipartFile.boundary)"
            }
            let length =
                form == .chunked ? "Transfer-Encoding: chunked" : "Content-Length: \(body.count)"
            let connection = try HTTPConnection(port: port, timeoutSeconds: 10)
            try connection.send(
                "POST /\(fid) HTTP/1.1\r\nHost: x\r\nContent-Type: \(type)\r\n\(length)\r\n\r\n")
            for start in stride(from: 0, to: body.count, by: piece) {
                // Apart at first: every fill of the server's buffers comes up, not only full ones.
                if start < slowBytes { usleep(500) }
                let part = Array(body[start..<min(start + piece, body.count)])
                guard form == .chunked else {
                    try connection.send(part)
                    continue
                }
                let size = String(part.count, radix: 16)
                try connection.send(Array("\(size)\r\n".utf8) + part + Array("\r\n".utf8))
            }
            if form == .chunked { try connection.send("0\r\n\r\n") }
            return try connection.readResponse().status
        }
    }
}
