import HTTPServer
import NIOCore

/// The parsers between the socket and a handler.
enum HTTPTargets {
    static let all = [
        FuzzTarget(name: "head", run: head), FuzzTarget(name: "chunked", run: chunked),
        FuzzTarget(name: "query", run: query),
    ]

    /// A request head, whole and in pieces: both must give the same.
    static func head(_ input: ByteInput) {
        var input = input
        let step = Int(input.byte() % 64) + 1
        let bytes = input.all
        let whole = "\(HTTPHeadParser.parse(ByteBuffer(bytes: bytes)))"
        var parser = HTTPHeadParser()
        var pieces = ""
        var count = min(step, bytes.count)
        while true {
            let result = parser.parse(ByteBuffer(bytes: bytes[..<count]))
            pieces = "\(result)"
            guard case .incomplete = result, count < bytes.count else {
                break
            }
            count = min(count + step, bytes.count)
        }
        if count == bytes.count {
            precondition(whole == pieces, "in pieces: \(pieces), whole: \(whole)")
        }
    }

    /// A chunked body in pieces: never more than came in, and the same however it is cut.
    static func chunked(_ input: ByteInput) {
        var input = input
        let step = Int(input.byte() % 32) + 1
        let bytes = input.all
        let (whole, wholeEnd) = decode(bytes, step: max(bytes.count, 1))
        let (pieces, end) = decode(bytes, step: step)
        precondition(whole.count <= bytes.count, "more than came in")
        precondition(whole == pieces && wholeEnd == end, "cutting changes the body")
    }

    private static func decode(_ bytes: [UInt8], step: Int) -> ([UInt8], String) {
        var decoder = ChunkedDecoder()
        var buffer = ByteBuffer()
        var found: [UInt8] = []
        var start = 0
        while true {
            switch decoder.next(&buffer) {
            case .piece(let piece): found += piece.readableBytesView
            case .end: return (found, "end")
            case .failure: return (found, "failure")
            case .incomplete:
                guard start < bytes.count else { return (found, "incomplete") }
                let end = min(start + step, bytes.count)
                buffer.writeBytes(bytes[start..<end])
                start = end
            }
        }
    }

    static func query(_ input: ByteInput) {
        let bytes = input.all
        _ = Query(bytes: bytes.span)
        _ = HTTPDate.parse(bytes.span)
    }
}
