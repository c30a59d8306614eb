/// The base name of a volume's files: `<id>` or `<collection>_<id>`.
public struct VolumeName: Sendable, Hashable, CustomStringConvertible {
    /// The collection; empty for the default one.
    public let collection: String
    /// The volume's number.
    public let id: VolumeID

    /// A name from its parts.
    public init(collection: String, id: VolumeID) {
        self.collection = collection
        self.id = id
    }

    /// Takes a file's base name (without extension) apart at the **last** underscore; a name that
    /// starts with it has no collection to name and is refused.
    public init?(baseName: String) {
        let digits: Substring
        if let underscore = baseName.lastIndex(of: "_") {
            guard underscore > baseName.startIndex else { return nil }
            collection = String(baseName[..<underscore])
            digits = baseName[baseName.index(after: underscore)...]
        } else {
            collection = ""
            digits = baseName[...]
        }
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
            let id = VolumeID(digits)
        else { return nil }
        self.id = id
    }

    /// The base name.
    public var description: String { collection.isEmpty ? "\(id)" : "\(collection)_\(id)" }

    /// Whether a collection name can be part of a file name: no separators, control characters or
    /// leading dot, at most 200 bytes.
    public static func isValid(collection: String) -> Bool {
        collection.utf8.count <= 200 && !collection.hasPrefix(".")
            && collection.unicodeScalars.allSatisfy {
                $0.value >= 0x20 && $0.value != 0x7f && $0 != "/" && $0 != "\\"
            }
    }
}
