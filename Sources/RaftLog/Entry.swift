/// One entry of the log.
public struct Entry: Sendable, Equatable {
    /// Position, from 1 on, without gaps.
    public var index: UInt64
    /// Term of the leader that made it; never falls from one entry to the next.
    public var term: UInt64
    /// What the payload means.
    ///
    /// A reader that does not know a type must stop, not skip.
    public var type: UInt8
    /// At most `RaftLog.maxPayloadBytes`.
    public var payload: [UInt8]

    /// An entry with these fields.
    public init(index: UInt64, term: UInt64, type: UInt8, payload: [UInt8]) {
        self.index = index
        self.term = term
        self.type = type
        self.payload = payload
    }
}

/// What a node must not forget: the term it is in, whom it voted for there, what is committed.
public struct HardState: Sendable, Equatable {
    /// The newest term the node has seen.
    public var term: UInt64
    /// The node voted for in that term, 0 for none.
    public var vote: UInt64
    /// The highest index known to be committed.
    public var commit: UInt64

    /// A state with these fields.
    public init(term: UInt64 = 0, vote: UInt64 = 0, commit: UInt64 = 0) {
        self.term = term
        self.vote = vote
        self.commit = commit
    }
}

/// The state machine as saved.
public struct AppliedState: Sendable, Equatable {
    /// The last entry that is part of it.
    public var appliedIndex: UInt64
    /// At most `RaftLog.maxStateBytes`; its form is the state machine's affair.
    public var blob: [UInt8]

    /// A state with these fields.
    public init(appliedIndex: UInt64, blob: [UInt8]) {
        self.appliedIndex = appliedIndex
        self.blob = blob
    }
}

/// What is made durable together, in this order.
public struct PersistBatch: Sendable, Equatable {
    /// Removes this entry and all after it.
    ///
    /// Never a committed one.
    public var truncateFrom: UInt64?
    /// Follow the last entry without a gap, at most `RaftLog.maxBatchEntries`.
    public var entries: [Entry]
    /// Replaces the hard state.
    public var hardState: HardState?
    /// Replaces the state.
    public var state: AppliedState?

    /// A batch with these parts.
    public init(
        truncateFrom: UInt64? = nil, entries: [Entry] = [], hardState: HardState? = nil,
        state: AppliedState? = nil
    ) {
        self.truncateFrom = truncateFrom
        self.entries = entries
        self.hardState = hardState
        self.state = state
    }
}
