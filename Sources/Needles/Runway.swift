internal import Platform
internal import Synchronization

/// Zeros written behind the last record while small writes are synced one group after the other.
///
/// A sync after an append makes the file system commit the new length and the new blocks to its
/// journal: more writes, and more waiting, than the records themselves need. A sync after bytes that
/// lie already in the file were overwritten only writes those. The zeros cost one more write of every
/// byte, which for groups this small is less than the journal's share.
///
/// Zeros behind the last record mean nothing to a reader: recovery passes over them, and the volume
/// gives them back when writes pause or it is closed.
final class Runway: Sendable {
    /// When zeros are written, and how many.
    struct Policy: Sendable {
        /// Bytes of zeros written at once.
        var bytes = 512 << 10
        /// Small groups in a row after which zeros are worth their while.
        var groupsBefore = 16
    }

    /// Groups of more bytes append as usual: for them the journal's share is small.
    static let largestGroup: UInt64 = 64 << 10

    private struct State {
        /// Where the zeros end; 0 without any.
        var end: UInt64 = 0
        var groups = 0
    }

    private let state = Mutex(State())

    /// Makes sure that there are zeros for the groups to come, when those before were small.
    ///
    /// Called on the commit thread when the records of a group lie in the file and the sync is to
    /// come. Best effort: without zeros the next records are appended.
    func extend(_ file: any DiskFile, group: Range<UInt64>, _ policy: Policy) {
        let start = state.withLock { state -> UInt64? in
            guard UInt64(group.count) <= Runway.largestGroup else {
                state.groups = 0
                return nil
            }
            state.groups += 1
            guard state.groups >= policy.groupsBefore, group.upperBound >= state.end else {
                return nil
            }
            state.end = group.upperBound + UInt64(policy.bytes)
            return group.upperBound
        }
        guard let start else { return }
        let zeros = [UInt8](repeating: 0, count: policy.bytes)
        do throws(DiskError) {
            try unsafe file.write(zeros.span.bytes, at: start)
        } catch {
            // what was written of the zeros does no harm; a disk that is full says so to the next
            // records
            forget()
        }
    }

    /// Cuts the zeros off; `end` is where the last record ends.
    ///
    /// Called on the commit thread.
    func giveBack(_ file: any DiskFile, end: UInt64) throws(DiskError) {
        let isLonger = state.withLock { state in
            defer { state = State() }
            return state.end > end
        }
        if isLonger { try file.truncate(to: end) }
    }

    /// The file was cut or is about to be.
    func forget() { state.withLock { $0 = State() } }

    /// Whether there may be zeros behind the last record.
    var isLaid: Bool { state.withLock { $0.end > 0 } }
}
