import NIOCore

/// Writes header lines straight into the outgoing buffer.
///
/// Values with CR, LF or NUL lose those bytes.
public struct HeaderWriter {
    var buffer: ByteBuffer

    init(buffer: ByteBuffer) { self.buffer = buffer }

    /// Adds a line.
    public mutating func add(_ name: StaticString, _ value: String) {
        start(name)
        write(value)
        end()
    }

    /// Adds a line with a number.
    @inlinable
    public mutating func add(_ name: StaticString, _ value: some BinaryInteger) {
        add(name, magnitude: UInt64(clamping: value.magnitude), isNegative: value < 0)
    }

    /// Adds a line with a number given as its parts.
    public mutating func add(_ name: StaticString, magnitude: UInt64, isNegative: Bool) {
        start(name)
        if isNegative { buffer.writeInteger(UInt8(0x2d)) }
        buffer.writeDecimal(magnitude)
        end()
    }

    /// Adds a line whose name is known only at run time.
    ///
    /// Bytes that no name may have are left out.
    public mutating func add(name: String, _ value: String) {
        if name.utf8.allSatisfy(\.isTokenByte) {
            buffer.writeString(name)
        } else {
            buffer.writeBytes(name.utf8.filter(\.isTokenByte))
        }
        buffer.writeStaticString(": ")
        write(value)
        end()
    }

    /// Adds a line with bytes as its value.
    public mutating func add(_ name: StaticString, bytes: Span<UInt8>) {
        start(name)
        var isClean = true
        for index in bytes.indices where Self.breaksLine(bytes[index]) {
            isClean = false
        }
        if isClean {
            // Copied at once; the span is alive until this returns.
            unsafe buffer.writeBytes(bytes.bytes)
        } else {
            for index in bytes.indices where !Self.breaksLine(bytes[index]) {
                buffer.writeInteger(bytes[index])
            }
        }
        end()
    }

    /// Adds a line with a date in HTTP's form.
    public mutating func add(_ name: StaticString, dateUnixSeconds: Int64) {
        start(name)
        buffer.writeBytes(HTTPDate.bytes(unixSeconds: dateUnixSeconds))
        end()
    }

    private mutating func start(_ name: StaticString) {
        buffer.writeStaticString(name)
        buffer.writeStaticString(": ")
    }

    private mutating func end() { buffer.writeStaticString("\r\n") }

    private mutating func write(_ value: String) {
        // a span: through the string's view each byte costs a call
        let utf8 = value.utf8.span
        var isClean = true
        for index in utf8.indices where Self.breaksLine(utf8[index]) { isClean = false }
        if isClean {
            buffer.writeString(value)
        } else {
            buffer.writeBytes(value.utf8.filter { !Self.breaksLine($0) })
        }
    }

    private static func breaksLine(_ byte: UInt8) -> Bool {
        byte == carriageReturn || byte == lineFeed || byte == 0
    }
}
