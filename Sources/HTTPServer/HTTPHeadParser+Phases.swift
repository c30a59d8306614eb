extension HTTPHeadParser {
    /// Runs through the phases; true when the head is complete, false when more bytes are needed.
    mutating func advance(_ bytes: borrowing Span<UInt8>) throws(HeadError) -> Bool {
        while true {
            let goesOn =
                switch phase {
                case .start: try skipEmptyLines(bytes)
                case .method: try takeMethod(bytes)
                case .target: try takeTarget(bytes)
                case .version: try takeVersion(bytes)
                case .line: try beginLine(bytes)
                case .name: try takeName(bytes)
                case .value: try takeValue(bytes)
                case .lineFeed: try endLine(bytes)
                case .end: try endHead(bytes)
                case .done: false
                }
            if phase == .done { return true }
            guard goesOn else { return false }
        }
    }

    /// Empty lines before a request line are ignored, as RFC 9112 section 2.2 asks.
    private mutating func skipEmptyLines(_ bytes: borrowing Span<UInt8>) throws(HeadError) -> Bool {
        while index < bytes.count, bytes[index] == carriageReturn {
            guard index + 1 < bytes.count else { return false }
            guard bytes[index + 1] == lineFeed else { throw .malformed(.lineEnd) }
            index += 2
        }
        guard index < bytes.count else { return false }
        lineStart = index
        phase = .method
        return true
    }

    private mutating func takeMethod(_ bytes: borrowing Span<UInt8>) throws(HeadError) -> Bool {
        var position = index
        while position < bytes.count, bytes[position].isTokenByte { position += 1 }
        index = position
        guard position - lineStart <= 32 else { throw .malformed(.requestLine) }
        guard position < bytes.count else { return false }
        guard bytes[position] == blank, position > lineStart else {
            throw .malformed(.requestLine)
        }
        method = lineStart..<position
        index = position + 1
        phase = .target
        return true
    }

    private mutating func takeTarget(_ bytes: borrowing Span<UInt8>) throws(HeadError) -> Bool {
        var position = index
        var question = self.question
        while position < bytes.count {
            let byte = bytes[position]
            guard byte > blank, byte != 0x7f else { break }
            if byte == 0x3f, question == nil { question = position }
            position += 1
        }
        self.question = question
        index = position
        guard position < bytes.count else { return false }
        let start = method.upperBound + 1
        guard bytes[position] == blank, position > start else { throw .malformed(.target) }
        target = start..<position
        index = position + 1
        lineStart = index
        phase = .version
        return true
    }

    /// `HTTP/1.1` and CR LF: exactly ten bytes.
    private mutating func takeVersion(_ bytes: borrowing Span<UInt8>) throws(HeadError) -> Bool {
        let expected: StaticString = "HTTP/"
        let available = min(bytes.count - lineStart, 5)
        for offset in 0..<available {
            // In bounds: `available` is at most the literal's five bytes.
            guard unsafe bytes[lineStart + offset] == expected.utf8Start[offset] else {
                throw .malformed(.requestLine)
            }
        }
        guard bytes.count >= lineStart + 10 else { return false }
        guard case 0x30...0x39 = bytes[lineStart + 5], bytes[lineStart + 6] == 0x2e,
            case 0x30...0x39 = bytes[lineStart + 7]
        else { throw .malformed(.requestLine) }
        guard bytes[lineStart + 5] == 0x31 else { throw .unsupportedVersion }
        guard bytes[lineStart + 8] == carriageReturn, bytes[lineStart + 9] == lineFeed else {
            throw .malformed(.lineEnd)
        }
        fields.isHTTP10 = bytes[lineStart + 7] == 0x30
        index = lineStart + 10
        headersStart = index
        phase = .line
        return true
    }

    private mutating func beginLine(_ bytes: borrowing Span<UInt8>) throws(HeadError) -> Bool {
        guard index < bytes.count else { return false }
        lineStart = index
        switch bytes[index] {
        case carriageReturn:
            headersEnd = index
            index += 1
            phase = .end
        case blank, tab:
            throw .malformed(.folding)
        default:
            lines += 1
            guard lines <= Limits.headerLines else { throw .tooLarge }
            phase = .name
        }
        return true
    }

    private mutating func takeName(_ bytes: borrowing Span<UInt8>) throws(HeadError) -> Bool {
        var position = index
        while position < bytes.count, bytes[position].isTokenByte { position += 1 }
        index = position
        guard position < bytes.count else { return false }
        guard bytes[position] == 0x3a, position > lineStart else { throw .malformed(.headerName) }
        name = lineStart..<position
        index = position + 1
        valueStart = index
        phase = .value
        return true
    }

    private mutating func takeValue(_ bytes: borrowing Span<UInt8>) throws(HeadError) -> Bool {
        var position = index
        let count = bytes.count
        while position + 8 <= count {
            let eight = unsafe bytes.bytes.unsafeLoadUnaligned(
                fromByteOffset: position, as: UInt64.self)
            guard !hasControlByte(eight) else { break }
            position += 8
        }
        while position < count, bytes[position].isFieldByte { position += 1 }
        index = position
        guard position < count else { return false }
        guard bytes[position] == carriageReturn else {
            throw .malformed(bytes[position] == lineFeed ? .lineEnd : .headerValue)
        }
        index = position + 1
        phase = .lineFeed
        return true
    }

    private mutating func endLine(_ bytes: borrowing Span<UInt8>) throws(HeadError) -> Bool {
        guard index < bytes.count else { return false }
        guard bytes[index] == lineFeed else { throw .malformed(.lineEnd) }
        try fields.take(bytes, name: name, value: valueStart..<index - 1)
        index += 1
        phase = .line
        return true
    }

    private mutating func endHead(_ bytes: borrowing Span<UInt8>) throws(HeadError) -> Bool {
        guard index < bytes.count else { return false }
        guard bytes[index] == lineFeed else { throw .malformed(.lineEnd) }
        index += 1
        phase = .done
        return false
    }
}

/// Whether one of eight bytes is below 0x20 or 0x7f.
///
/// (Tabs count too; the caller then looks closer.)
@inline(__always)
private func hasControlByte(_ eight: UInt64) -> Bool {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let tops: UInt64 = 0x8080_8080_8080_8080
    let below = (eight &- ones &* 0x20) & ~eight & tops
    let deleted = eight ^ (ones &* 0x7f)
    return (below | ((deleted &- ones) & ~deleted & tops)) != 0
}
