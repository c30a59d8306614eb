/// A table of one environment, opened with it and valid until it closes.
public struct Table: Sendable, Hashable {
    /// LMDB's handle.
    let dbi: UInt32
    /// Serial number of the environment, so that a foreign table is refused instead of misread.
    let owner: UInt32
}

/// Counts of one table.
public struct TableStatistics: Sendable, Equatable {
    /// Records.
    public let entries: Int
    /// Levels of the tree; 0 when empty.
    public let depth: Int
    /// Pages of the tree: inner, leaf, overflow.
    public let branchPages, leafPages, overflowPages: Int
}

/// Sizes of an environment.
public struct EnvironmentStatistics: Sendable, Equatable {
    /// Bytes of a page.
    public let pageSize: Int
    /// Bytes that may be used before the map grows.
    public let mapSize: Int
    /// Bytes of the file in use, free pages inside it included.
    public let usedBytes: Int
    /// Number of the last committed write transaction.
    public let lastTransaction: Int
    /// Reader slots taken, and how many there are.
    public let readers, maxReaders: Int
}
