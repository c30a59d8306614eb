import Model
import NIOCore

@testable import Volume

/// Parsers of the volume server.
enum UploadTargets {
    static let all = [
        FuzzTarget(name: "multipart", run: multipart), FuzzTarget(name: "range", run: range),
        FuzzTarget(name: "manifest", run: manifest), FuzzTarget(name: "etag", run: conditional),
    ]

    /// A multipart body in pieces: the same parts however it is cut.
    static func multipart(_ input: ByteInput) {
        var input = input
        let step = Int(input.byte() % 64) + 1
        let bytes = input.all
        precondition(
            parts(bytes, step: step) == parts(bytes, step: max(bytes.count, 1)),
            "cutting changes the parts")
    }

    private static func parts(_ bytes: [UInt8], step: Int) -> [String] {
        var parser = MultipartParser(boundary: "xyz")
        var seen: [String] = []
        var data: [UInt8] = []
        var start = 0
        do {
            while start < bytes.count {
                let end = min(start + step, bytes.count)
                parser.feed(ByteBuffer(bytes: bytes[start..<end]))
                start = end
                while let event = try parser.next() {
                    switch event {
                    case .part(let headers): seen.append("\(headers)")
                    case .data(let piece): data += piece.readableBytesView
                    case .partEnd:
                        seen.append("\(data)")
                        data = []
                    case .end: seen.append("end")
                    }
                }
            }
            try parser.finish()
        } catch {
            seen.append("error")
        }
        precondition(data.count <= bytes.count, "more than came in")
        return seen
    }

    static func range(_ input: ByteInput) {
        var input = input
        let size = UInt64(input.word()) << UInt64(input.byte() % 48)
        let text = input.all
        switch RangeHeader.parse(text.span, size: size) {
        case .single(let range): check(range, size)
        case .several(let ranges):
            precondition(ranges.count <= RangeHeader.maxRanges, "too many ranges")
            for range in ranges { check(range, size) }
        default: break
        }
    }

    private static func check(_ range: ByteRange, _ size: UInt64) {
        let (end, overflow) = range.start.addingReportingOverflow(range.length)
        precondition(!overflow && end <= size, "\(range) of \(size)")
        _ = range.text(of: size)
    }

    static func manifest(_ input: ByteInput) {
        let id = FileID(volume: 1, key: 2, cookie: 3)
        _ = try? ChunkManifest.parse(ByteBuffer(bytes: input.all), of: id)
    }

    static func conditional(_ input: ByteInput) {
        let bytes = input.all
        _ = ConditionalRequest.matches(bytes.span, checksum: 0x1234_5678)
    }
}
