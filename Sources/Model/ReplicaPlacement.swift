/// Where the copies of a volume go, written `xyz`: x in other data centers, y in other racks, z on
/// other servers of the same rack.
public struct ReplicaPlacement: Sendable, Hashable {
    /// Copies in other data centers.
    public let otherDataCenters: UInt8
    /// Copies in other racks of the same data center.
    public let otherRacks: UInt8
    /// Copies on other servers of the same rack.
    public let sameRack: UInt8

    /// One copy, `000`.
    public static let single = ReplicaPlacement(stored: 0)

    /// The byte of the superblock: x·100 + y·10 + z.
    public init(stored byte: UInt8) {
        otherDataCenters = byte / 100
        otherRacks = byte / 10 % 10
        sameRack = byte % 10
    }

    /// Parses up to three digits, padded with zeros on the left: `1` is `001`, "" is `000`.
    public init(parsing text: String) throws(ReplicaPlacementError) {
        guard text.utf8.count <= 3, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else {
            throw ReplicaPlacementError(text: text)
        }
        let value = text.isEmpty ? 0 : Int(text) ?? 256
        guard let byte = UInt8(exactly: value) else { throw ReplicaPlacementError(text: text) }
        self.init(stored: byte)
    }

    /// The byte of the superblock.
    public var stored: UInt8 { otherDataCenters * 100 + otherRacks * 10 + sameRack }

    /// How many copies there are in all.
    public var copies: Int { 1 + Int(otherDataCenters) + Int(otherRacks) + Int(sameRack) }
}

extension ReplicaPlacement: CustomStringConvertible {
    /// Three digits, `010`.
    public var description: String { "\(otherDataCenters)\(otherRacks)\(sameRack)" }
}

/// A text that is no replica placement.
public struct ReplicaPlacementError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was given.
    public let text: String

    /// The message as clients know it.
    public var description: String { "unexpected replication type: \(text)" }
}
