import Foundation
import Histogram
import Model
import NIOCore
import Testing

@testable import weed

@Suite("Command line: weed benchmark")
struct CommandLineBenchmarkTests {
    private let file = FileID(volume: 3, key: 0x1234, cookie: 0x6370_37d6)

    private func payload(_ size: Int, _ file: FileID, seed: UInt64 = 1) -> ByteBuffer {
        var buffer = ByteBuffer()
        Payload.append(size, of: file, seed: seed, to: &buffer)
        return buffer
    }

    @Test("a file's bytes are told from every wrong one", arguments: [0, 1, 7, 8, 9, 1024, 1027])
    func payloads(size: Int) {
        let right = payload(size, file)
        #expect(right.readableBytes == size)
        #expect(Payload.firstDifference(in: right, size: size, of: file, seed: 1) == nil)
        for offset in [0, size / 2, size - 1] where (0..<size).contains(offset) {
            var wrong = right
            let byte = wrong.getInteger(at: offset, as: UInt8.self) ?? 0
            wrong.setInteger(byte ^ 0x10, at: offset)
            let found = Payload.firstDifference(in: wrong, size: size, of: file, seed: 1)
            #expect(found.map { $0 / 8 } == offset / 8)
        }
    }

    @Test("length, seed, cookie and key all count")
    func otherPayloads() {
        let right = payload(64, file)
        #expect(Payload.firstDifference(in: right, size: 65, of: file, seed: 1) == 64)
        #expect(Payload.firstDifference(in: right, size: 64, of: file, seed: 2) == 0)
        let others = [
            FileID(volume: 4, key: 0x1234, cookie: 0x6370_37d6),
            FileID(volume: 3, key: 0x1235, cookie: 0x6370_37d6),
            FileID(volume: 3, key: 0x1234, cookie: 0x6370_37d7),
        ]
        for other in others {
            #expect(Payload.firstDifference(in: right, size: 64, of: other, seed: 1) == 0)
        }
    }

    @Test("an answer is read whole however it is cut")
    func answerHeads() throws {
        let text = "HTTP/1.1 201 Created\r\ncontent-LENGTH: 5\r\nX: y\r\n\r\nhello"
        let bytes = Array(text.utf8)
        for cut in 0..<bytes.count - 5 {
            var buffer = ByteBuffer(bytes: bytes.prefix(cut))
            #expect(try AnswerHead.take(from: &buffer) == nil)
            buffer.writeBytes(bytes.dropFirst(cut))
            let head = try #require(try AnswerHead.take(from: &buffer))
            #expect((head.status, head.length, head.staysOpen) == (201, 5, true))
            #expect(String(buffer: buffer) == "hello")
        }
    }

    @Test("closing answers and answers without body")
    func specialHeads() throws {
        var closing = ByteBuffer(
            string: "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        #expect(try AnswerHead.take(from: &closing)?.staysOpen == false)
        var empty = ByteBuffer(string: "HTTP/1.1 204 No Content\r\n\r\n")
        #expect(try AnswerHead.take(from: &empty)?.length == 0)
    }

    @Test(
        "what is no answer is refused",
        arguments: [
            "hello\r\n\r\n", "HTTP/1.1 abc OK\r\nContent-Length: 1\r\n\r\n", "\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        ])
    func malformedHeads(text: String) {
        var buffer = ByteBuffer(string: text)
        #expect(throws: BenchmarkError.self) { try AnswerHead.take(from: &buffer) }
    }

    @Test("fields of the master's answers")
    func fields() {
        let body = ByteBuffer(
            string: #"{"fid":"3,01","url": "127.0.0.1:8080","count":1,"locations":[{"x":""}]}"#)
        #expect(Answers.field("fid", body) == "3,01")
        #expect(Answers.field("url", body) == "127.0.0.1:8080")
        #expect(Answers.field("x", body) == "")
        #expect(Answers.field("count", body) == nil)
        #expect(Answers.field("none", body) == nil)
        #expect(Answers.field("fid", ByteBuffer(string: #"{"fid":"3,0"#)) == nil)
        #expect(Answers.field("fid", ByteBuffer()) == nil)
    }

    @Test("endpoints")
    func endpoints() {
        #expect(Endpoint("localhost:9333")?.authority == "localhost:9333")
        #expect(Endpoint("[::1]:80")?.host == "::1")
        #expect(Endpoint("[::1]:80")?.authority == "[::1]:80")
        for text in ["", "localhost", ":80", "a:0", "a:65536", "a:b"] {
            #expect(Endpoint(text) == nil, "\(text)")
        }
    }

    @Test("an upload says its length truthfully")
    func uploads() throws {
        let endpoint = try #require(Endpoint("127.0.0.1:8080"))
        let plan = BenchmarkPlan(
            master: endpoint, size: 1000, collection: "a b&c", replication: "001", forcesSync: true,
            seed: 1)
        #expect(plan.assignTarget == "/dir/assign?count=1&collection=a%20b%26c&replication=001")
        var request = Requests.upload(file, to: endpoint, plan)
        let head = try #require(
            String(buffer: request).components(separatedBy: "\r\n\r\n").first)
        #expect(head.hasPrefix("POST /3,1234637037d6?fsync=true HTTP/1.1\r\n"))
        let length = try #require(
            head.components(separatedBy: "Content-Length: ").last.flatMap { Int($0) })
        request.moveReaderIndex(forwardBy: head.utf8.count + 4)
        #expect(request.readableBytes == length)
    }

    @Test("the list of ids comes back as it was written")
    func fileLists() throws {
        let path = "\(NSTemporaryDirectory())/weed-list-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let files = (1...50).map {
            UploadedFile(id: FileID(volume: 3, key: UInt64($0) << 30, cookie: UInt32($0)))
        }
        try FileList.write(files, to: path)
        #expect(try FileList.read(path) == files)
        try "3,01637037d6\nnonsense\n".write(toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: CommandFailure.self) { try FileList.read(path) }
        #expect(error?.description == "\(path), line 2: Invalid fid: nonsense")
    }

    @Test("results for people and for programs")
    func reports() {
        var measured = WorkerResult()
        for value in 1...1000 { measured.latencies.record(UInt64(value)) }
        measured.bytes = 1_024_000
        let result = PhaseResult(
            kind: .read, completed: 1000, failed: 0, seconds: 0.5, measured: measured)
        let report = BenchmarkReport(results: [result], concurrency: 16, size: 1024)
        #expect(report.text.contains("Requests per second:    2000.00 [#/sec]"))
        #expect(report.text.contains("     50%       0.50 ms"))
        #expect(report.json.contains("\"requestsPerSecond\": 2000"))
        #expect(report.json.contains("\"p99\": 990"))
    }
}
