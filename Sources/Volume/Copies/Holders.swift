import Model
import NIOCore
import Synchronization
import Wire

/// Why the other holders of a volume are not known well enough to change it.
enum HolderError: Error, Sendable, Equatable {
    /// Fewer servers hold the volume than it has copies, this one included.
    case tooFew(Int)
    /// The master did not say.
    case unknown(String)

    /// The message as clients know it.
    func message(for volume: VolumeID, copies: Int) -> String {
        switch self {
        case .tooFew(let found):
            "writable replication locations [\(found)] is less than volume \(volume) replication "
                + "copy count [\(copies)]"
        case .unknown(let reason): "replicating lookup failed for \(volume): \(reason)"
        }
    }
}

/// Which other servers hold a volume, as the master last said.
///
/// What it said is used for ``freshTime``, then asked for again in the background while the old
/// answer still serves, and after ``usableTime`` not used any more. Questions for one volume at the
/// same time share one call.
final class HolderTable: Sendable {
    /// How long an answer is used without another question.
    static let freshTime = TimeAmount.seconds(5)
    /// How long an answer is used while another is asked for.
    static let usableTime = TimeAmount.seconds(30)
    /// How long an answer that names too few holders is believed.
    static let shortageTime = TimeAmount.milliseconds(200)
    /// How long an answer is used although a holder failed: a master that does not know yet is not
    /// asked for every request that fails.
    static let doubtTime = TimeAmount.milliseconds(50)
    /// Volumes remembered; beyond that all are forgotten.
    static let limit = 65_536

    private struct Entry {
        var others: [String]
        var learnt: NIODeadline
        /// A holder failed since.
        var isDoubted = false
    }

    private struct State {
        var entries: [VolumeID: Entry] = [:]
        var questions: [VolumeID: Task<Result<[String], PeerError>, Never>] = [:]
    }

    private let master: (any MasterPeer)?
    private let ownAddress: @Sendable () -> String
    private let state = Mutex(State())

    /// A table that leaves out `ownAddress`.
    init(master: (any MasterPeer)?, ownAddress: @escaping @Sendable () -> String) {
        self.master = master
        self.ownAddress = ownAddress
    }

    /// The other holders, if enough are known to make `copies` with this server.
    ///
    /// `nil`: ``find(_:copies:)`` has to ask. Asks by itself when the answer grows old.
    func known(_ volume: VolumeID, copies: Int) -> [String]? {
        let now = NIODeadline.now()
        let (others, isOld) = state.withLock { state -> ([String]?, Bool) in
            guard let entry = state.entries[volume], entry.others.count + 1 >= copies,
                now < entry.learnt + HolderTable.usableTime,
                !entry.isDoubted || now < entry.learnt + HolderTable.doubtTime
            else { return (nil, false) }
            let isOld = now >= entry.learnt + HolderTable.freshTime
            return (entry.others, isOld && state.questions[volume] == nil)
        }
        if isOld { _ = question(volume) }
        return others
    }

    /// The other holders; asks the master unless it just answered.
    func find(_ volume: VolumeID, copies: Int) async -> Result<[String], HolderError> {
        if let others = known(volume, copies: copies) { return .success(others) }
        let now = NIODeadline.now()
        let shortage = state.withLock { state -> Int? in
            guard let entry = state.entries[volume], !entry.isDoubted,
                entry.others.count + 1 < copies, now < entry.learnt + HolderTable.shortageTime
            else { return nil }
            return entry.others.count + 1
        }
        if let shortage { return .failure(.tooFew(shortage)) }
        switch await question(volume).value {
        case .failure(let error):
            // Better old than none: a server that does not hold it any more will say so.
            let old = state.withLock { $0.entries[volume]?.others }
            if let old, !old.isEmpty, old.count + 1 >= copies { return .success(old) }
            return .failure(.unknown(error.description))
        case .success(let others) where others.count + 1 < copies:
            return .failure(.tooFew(others.count + 1))
        case .success(let others): return .success(others)
        }
    }

    /// Calls `completion` on `loop` with what ``find(_:copies:)`` says, at once when it is known.
    ///
    /// Called on `loop`.
    func find(
        _ volume: VolumeID, copies: Int, on loop: any EventLoop,
        _ completion: @escaping @Sendable (Result<[String], HolderError>) -> Void
    ) {
        if let others = known(volume, copies: copies) { return completion(.success(others)) }
        Task {
            let result = await find(volume, copies: copies)
            loop.execute { completion(result) }
        }
    }

    /// A holder failed: the master is asked before the next change.
    func doubt(_ volume: VolumeID) {
        state.withLock { $0.entries[volume]?.isDoubted = true }
    }

    /// The question under way for a volume, or a new one.
    private func question(_ volume: VolumeID) -> Task<Result<[String], PeerError>, Never> {
        state.withLock { state in
            if let question = state.questions[volume] { return question }
            let question = Task { await self.ask(volume) }
            state.questions[volume] = question
            return question
        }
    }

    private func ask(_ volume: VolumeID) async -> Result<[String], PeerError> {
        let result: Result<[String], PeerError>
        do throws(PeerError) {
            var others: [String] = []
            let own = ownAddress()
            let all = try await master?.locations(of: volume) ?? []
            for address in all where address != own && !others.contains(address) {
                others.append(address)
            }
            result = .success(others)
        } catch {
            result = .failure(error)
        }
        state.withLock { state in
            state.questions[volume] = nil
            guard case .success(let others) = result else { return }
            if state.entries.count >= HolderTable.limit { state.entries = [:] }
            state.entries[volume] = Entry(others: others, learnt: .now())
        }
        return result
    }
}
