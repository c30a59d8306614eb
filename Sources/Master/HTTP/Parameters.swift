import HTTPServer
import Model
import NIOCore

/// Parameters of a request: those of the body first, then those of the query.
struct Parameters: Sendable {
    /// Bytes of a form.
    static let formLimit: UInt64 = 1 << 20
    /// Parts of a multipart form.
    static let partLimit = 100

    private var query: Query

    init(query: Query) { self.query = query }

    /// The first value of a name; empty when there is none.
    subscript(_ name: String) -> String { query[name] ?? "" }

    /// Every value of a name.
    func all(_ name: String) -> [String] { query.all(name) }

    /// Whether JSON is to be indented.
    var isPretty: Bool { !self["pretty"].isEmpty }

    /// Puts the parameters of a body in front.
    mutating func prepend(_ items: [(name: String, value: String)]) {
        query.items = items + query.items
    }

    /// How a request's body carries parameters; `nil` when it carries none.
    enum Form: Sendable {
        case urlencoded
        case multipart(boundary: String)

        init?(_ request: HTTPRequest) {
            guard request.hasBody,
                let type = request.header("content-type")
            else { return nil }
            let media = type.prefix { $0 != ";" }.lowercased()
            if media.hasPrefix("application/x-www-form-urlencoded") {
                self = .urlencoded
            } else if media.hasPrefix("multipart/form-data"),
                let boundary = MultipartForm.boundary(type)
            {
                self = .multipart(boundary: boundary)
            } else {
                return nil
            }
        }

        /// The parameters in a body.
        func items(_ body: ByteBuffer) -> [(name: String, value: String)] {
            switch self {
            case .urlencoded: Query(parsing: String(buffer: body)).items
            case .multipart(let boundary):
                MultipartForm.fields(Array(body.readableBytesView), boundary: boundary)
            }
        }
    }
}

/// Fields of a `multipart/form-data` body.
///
/// Total: whatever the bytes are, it finds some fields or none.
enum MultipartForm {
    /// The `boundary` of a content type.
    static func boundary(_ contentType: String) -> String? {
        for part in contentType.split(separator: ";").dropFirst() {
            let pair = part.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, trim(pair[0]).lowercased() == "boundary" else { continue }
            let value = trim(pair[1])
            let bare =
                value.hasPrefix("\"") && value.hasSuffix("\"") && value.utf8.count > 1
                ? String(value.dropFirst().dropLast()) : value
            return bare.isEmpty || bare.utf8.count > 200 ? nil : bare
        }
        return nil
    }

    /// Parts that have a name and no file name.
    static func fields(_ body: [UInt8], boundary: String) -> [(name: String, value: String)] {
        let delimiter = Array("--\(boundary)".utf8)
        var fields: [(name: String, value: String)] = []
        var starts = find(delimiter, in: body, from: 0)
        while let start = starts, fields.count < Parameters.partLimit {
            let content = start + delimiter.count
            guard let end = find(delimiter, in: body, from: content) else { break }
            if let field = field(body[content..<end]) { fields.append(field) }
            starts = end
        }
        return fields
    }

    /// One part, from behind its delimiter to the next.
    private static func field(_ part: ArraySlice<UInt8>) -> (name: String, value: String)? {
        guard let blank = find(Array("\r\n\r\n".utf8), in: Array(part), from: 0) else { return nil }
        let head = String(decoding: part.prefix(blank), as: UTF8.self)
        var value = part.dropFirst(blank + 4)
        if value.suffix(2).elementsEqual([0x0d, 0x0a]) { value = value.dropLast(2) }
        for line in head.split(separator: "\r\n") {
            let parts = line.split(separator: ";")
            guard let first = parts.first,
                first.lowercased().hasPrefix("content-disposition:"),
                !parts.contains(where: { trim($0).lowercased().hasPrefix("filename") })
            else { continue }
            for attribute in parts.dropFirst() {
                let pair = attribute.split(separator: "=", maxSplits: 1)
                guard pair.count == 2, trim(pair[0]).lowercased() == "name" else { continue }
                let name = trim(pair[1]).filter { $0 != "\"" }
                return (name, String(decoding: value, as: UTF8.self))
            }
        }
        return nil
    }

    private static func trim(_ text: Substring) -> String {
        var text = text
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }

    private static func find(_ needle: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        guard bytes.count >= needle.count, start <= bytes.count - needle.count else { return nil }
        var position = start
        while position <= bytes.count - needle.count {
            if bytes[position] == needle[0],
                bytes[position..<position + needle.count].elementsEqual(needle)
            {
                return position
            }
            position += 1
        }
        return nil
    }
}

/// A parameter that cannot be used; `description` is what the client reads.
struct ParameterError: Error, Sendable, CustomStringConvertible {
    let description: String
}

extension Parameters {
    /// Volumes that one assign may ask for.
    static let volumesLimit = 100

    /// The parameters of an assign.
    func assignRequest(_ configuration: MasterConfiguration) throws(ParameterError) -> AssignRequest
    {
        var request = AssignRequest(layout: try layout(configuration))
        request.count = try count()
        request.whereabouts = whereabouts
        request.volumes = min(Int(self["writableVolumeCount"]) ?? 0, Parameters.volumesLimit)
        request.fileBytes = UInt64(self["dataSize"]) ?? 0
        request.preallocate = try number("preallocate")
        _ = try number("memoryMapMaxSizeMb")
        return request
    }

    /// Which volumes are meant.
    func layout(_ configuration: MasterConfiguration) throws(ParameterError) -> LayoutKey {
        let collection = self["collection"]
        guard VolumeName.isValid(collection: collection) else {
            throw ParameterError(
                description: "collection \"\(collection)\" cannot be part of a file name: use at "
                    + "most 200 bytes without / \\ and control characters, not starting with a dot")
        }
        let replication = self["replication"]
        do {
            return LayoutKey(
                collection: collection,
                replication: replication.isEmpty
                    ? configuration.defaultReplication
                    : try ReplicaPlacement(parsing: replication),
                ttl: try TimeToLive(parsing: self["ttl"]), diskType: self["disk"])
        } catch {
            throw ParameterError(description: "\(error)")
        }
    }

    var whereabouts: Whereabouts {
        Whereabouts(dataCenter: self["dataCenter"], rack: self["rack"], node: self["dataNode"])
    }

    /// How many file ids: 1 unless a larger number is given.
    private func count() throws(ParameterError) -> UInt64 {
        let text = self["count"]
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return 1 }
        let value = UInt64(text) ?? .max
        guard value <= AssignRequest.countLimit else {
            throw ParameterError(
                description: "count \(text) is more than \(AssignRequest.countLimit) file ids at "
                    + "once: ask several times")
        }
        return max(1, value)
    }

    private func number(_ name: String) throws(ParameterError) -> UInt64 {
        let text = self[name]
        guard !text.isEmpty else { return 0 }
        guard let value = UInt64(text), value <= UInt64(Int64.max) else {
            throw ParameterError(
                description: "Failed to parse \(name) as a number: \"\(text.prefix(64))\"")
        }
        return value
    }
}
