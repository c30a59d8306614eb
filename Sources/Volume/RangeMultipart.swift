/// The frame of a `multipart/byteranges` body.
struct RangeMultipart: Sendable {
    /// The line between parts, without dashes: 40 hexadecimal digits.
    let boundary: String
    /// The size of the whole file.
    let size: UInt64
    /// The type of the file, named in every part.
    let contentType: String

    /// A frame.
    ///
    /// The boundary is drawn at random, so that no content can contain it by design.
    init(size: UInt64, contentType: String, using generator: inout some RandomNumberGenerator) {
        self.size = size
        self.contentType = contentType
        let hex = Array("0123456789abcdef".utf8)
        var digits: [UInt8] = []
        for _ in 0..<40 { digits.append(hex[Int(generator.next() & 15)]) }
        boundary = String(decoding: digits, as: UTF8.self)
    }

    /// The `Content-Type` of the answer.
    var header: String { "multipart/byteranges; boundary=\(boundary)" }

    /// What comes before the bytes of a part.
    func opening(_ range: ByteRange, isFirst: Bool) -> String {
        "\(isFirst ? "" : "\r\n")--\(boundary)\r\nContent-Range: bytes \(range.text(of: size))\r\n"
            + "Content-Type: \(contentType)\r\n\r\n"
    }

    /// What comes after the last part.
    var closing: String { "\r\n--\(boundary)--\r\n" }
}
