/// Decoded query or form parameters, in order of arrival.
///
/// `+` is a blank.
public struct Query: Sendable {
    /// The most items kept; the rest is dropped.
    public static let maximumItems = 1_000

    /// Name and value pairs.
    public var items: [(name: String, value: String)]

    /// Parses `a=b&c=d`; limited to 1,000 items, the rest is dropped.
    public init(parsing text: String) {
        let bytes = Array(text.utf8)
        self.init(bytes: bytes.span)
    }

    /// Parses the bytes of `a=b&c=d`; limited to 1,000 items, the rest is dropped.
    public init(bytes: Span<UInt8>) {
        items = []
        var start = 0
        while start < bytes.count, items.count < Self.maximumItems {
            var end = start
            var equals: Int?
            while end < bytes.count, bytes[end] != 0x26 {
                if bytes[end] == 0x3d, equals == nil { equals = end }
                end += 1
            }
            if end > start {
                let nameEnd = equals ?? end
                let valueStart = equals.map { $0 + 1 } ?? end
                items.append(
                    (
                        decodingPercents(bytes, start..<nameEnd, plusIsBlank: true),
                        decodingPercents(bytes, valueStart..<end, plusIsBlank: true)
                    ))
            }
            start = end + 1
        }
    }

    /// The first value of a name.
    public subscript(_ name: String) -> String? {
        items.first { $0.name == name }?.value
    }

    /// Every value of a name.
    public func all(_ name: String) -> [String] {
        items.compactMap { $0.name == name ? $0.value : nil }
    }
}
