public import NIOCore

/// Takes the chunked transfer coding (RFC 9112 section 7.1) apart.
///
/// Strict: lines end with CR LF, sizes are hexadecimal digits only, extensions and trailers are
/// bounded and ignored.
public struct ChunkedDecoder: Sendable {
    /// What `next` found.
    public enum Step: Sendable, Equatable {
        /// More bytes are needed.
        case incomplete
        /// Bytes of the body, never empty; they share the buffer received.
        case piece(ByteBuffer)
        /// The body is complete; what follows belongs to the next request.
        case end
        /// The coding is broken; says where.
        case failure(String)
    }

    /// Bytes of all extensions, and of all trailers, of one body.
    static let overheadBytes = 16 << 10

    private enum Phase: Equatable {
        case size, blanks, extensions, sizeLineFeed, data, dataReturn, dataLineFeed
        case trailerStart, trailer, trailerLineFeed, endLineFeed, done, failed
    }

    private var phase = Phase.size
    private var remaining: UInt64 = 0
    private var digits = 0
    private var overhead = 0
    private var trailerBytes = 0

    /// A decoder at the beginning of a body.
    public init() {}

    /// Consumes bytes from `buffer` up to the next piece, the end or a fault.
    public mutating func next(_ buffer: inout ByteBuffer) -> Step {
        while true {
            if phase == .data {
                let count = Int(min(remaining, UInt64(buffer.readableBytes)))
                guard count > 0, let piece = buffer.readSlice(length: count) else {
                    return .incomplete
                }
                remaining -= UInt64(count)
                if remaining == 0 { phase = .dataReturn }
                return .piece(piece)
            }
            let (consumed, fault) = walk(buffer.readableBytesUInt8Span)
            buffer.moveReaderIndex(forwardBy: consumed)
            if let fault {
                phase = .failed
                return .failure("chunked coding: \(fault)")
            }
            switch phase {
            case .data: continue
            case .done: return .end
            case .failed: return .failure("chunked coding: broken before")
            default: return .incomplete
            }
        }
    }

    /// Walks over framing bytes until data begins, the body ends or the bytes run out.
    private mutating func walk(
        _ bytes: borrowing Span<UInt8>
    ) -> (consumed: Int, fault: StaticString?) {
        var index = 0
        while index < bytes.count, phase != .data, phase != .done, phase != .failed {
            let byte = bytes[index]
            index += 1
            if let fault = step(byte) { return (index, fault) }
        }
        return (index, nil)
    }

    private mutating func step(_ byte: UInt8) -> StaticString? {
        switch phase {
        case .size: return takeSize(byte)
        case .blanks:
            return takeBlank(byte)
        case .extensions:
            if byte == carriageReturn { return move(to: .sizeLineFeed) }
            guard byte.isFieldByte else { return "control byte in an extension" }
            return countOverhead()
        case .sizeLineFeed:
            guard byte == lineFeed else { return "size not ended by CR LF" }
            digits = 0
            return move(to: remaining == 0 ? .trailerStart : .data)
        case .dataReturn:
            return byte == carriageReturn ? move(to: .dataLineFeed) : "chunk not ended by CR LF"
        case .dataLineFeed:
            return byte == lineFeed ? move(to: .size) : "chunk not ended by CR LF"
        case .trailerStart:
            if byte == carriageReturn { return move(to: .endLineFeed) }
            guard byte.isTokenByte else { return "trailer name" }
            phase = .trailer
            return countTrailer()
        case .trailer:
            if byte == carriageReturn { return move(to: .trailerLineFeed) }
            guard byte.isFieldByte else { return "control byte in a trailer" }
            return countTrailer()
        case .trailerLineFeed:
            return byte == lineFeed ? move(to: .trailerStart) : "trailer not ended by CR LF"
        case .endLineFeed:
            return byte == lineFeed ? move(to: .done) : "end not followed by CR LF"
        case .data, .done, .failed:
            return nil
        }
    }

    private mutating func takeSize(_ byte: UInt8) -> StaticString? {
        if let digit = byte.hexValue {
            // Fifteen digits are 2^60 bytes, so the sum below cannot overflow.
            guard digits < 15 else { return "size too large" }
            remaining = remaining << 4 | UInt64(digit)
            digits += 1
            return nil
        }
        guard digits > 0 else { return "size is not hexadecimal" }
        switch byte {
        case carriageReturn: return move(to: .sizeLineFeed)
        case 0x3b: return move(to: .extensions)
        case blank, tab: return move(to: .blanks)
        default: return "size is not hexadecimal"
        }
    }

    /// Blanks are allowed between a size and its extensions, nowhere else.
    private mutating func takeBlank(_ byte: UInt8) -> StaticString? {
        switch byte {
        case 0x3b: return move(to: .extensions)
        case blank, tab: return countOverhead()
        default: return "blank after a size"
        }
    }

    private mutating func move(to next: Phase) -> StaticString? {
        phase = next
        return nil
    }

    private mutating func countOverhead() -> StaticString? {
        overhead += 1
        return overhead > Self.overheadBytes ? "extensions too long" : nil
    }

    private mutating func countTrailer() -> StaticString? {
        trailerBytes += 1
        return trailerBytes > Self.overheadBytes ? "trailers too long" : nil
    }
}
