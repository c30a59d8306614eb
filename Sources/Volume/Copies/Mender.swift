import HTTPClient
import Logging
import Model
import NIOCore
import NIOPosix
import Needles
import Platform
import Synchronization

/// Pays the debts of a server in the background: makes the copies on other servers what the one
/// here is.
final class Mender: Sendable {
    /// Files compared at a time.
    static let width = 8
    /// Debts looked at in one round; the rest waits for the next.
    static let roundLimit = 4096
    /// The longest pause before a volume's debts are tried again, seconds.
    static let longestPause = 60.0
    /// How long debts of a volume that is not here are kept, seconds: it may come back.
    static let absentSeconds: UInt64 = 86_400

    private struct Pause {
        var until: NIODeadline
        var seconds: Double
    }

    private let service: VolumeService
    private let firstPause: Double
    private let pauses = Mutex<[VolumeID: Pause]>([:])
    private let task = Mutex<Task<Void, Never>?>(nil)

    /// A mender that looks for debts every `seconds`.
    init(_ service: VolumeService, every seconds: Double) {
        self.service = service
        firstPause = seconds
    }

    /// Begins.
    func start() {
        let pause = UInt64(firstPause * 1e9)
        let work = Task { [self] in
            while !Task.isCancelled {
                try? await Task.sleep(nanoseconds: pause)
                if !Task.isCancelled { await payAll() }
            }
        }
        task.withLock { $0 = work }
    }

    /// Begins no more.
    func cancel() { task.withLock { $0 }?.cancel() }

    /// Waits for the debts being paid.
    func finish() async {
        let work = task.withLock { task in
            defer { task = nil }
            return task
        }
        work?.cancel()
        await work?.value
    }

    /// One round over everything that is due.
    private func payAll() async {
        let now = NIODeadline.now()
        let paused = pauses.withLock { $0 }
        let due = service.copies.ledger.debts.filter { debt, _ in
            paused[debt.volume].map { $0.until <= now } ?? true
        }
        guard !due.isEmpty else { return }
        let byVolume = Dictionary(grouping: due.prefix(Mender.roundLimit)) { $0.key.volume }
        for (volume, debts) in byVolume {
            guard !Task.isCancelled else { return }
            let problem = await pay(debts.map { ($0.key, $0.value) }, of: volume)
            settle(volume, problem)
            let paid = service.copies.ledger.debts
            let count = debts.count { paid[$0.key] == nil }
            guard count > 0 else { continue }
            service.logger.info("volume \(volume): copies of \(count) files are equal again")
        }
    }

    /// Sets when a volume is tried again.
    private func settle(_ volume: VolumeID, _ problem: Problem?) {
        guard let problem else {
            pauses.withLock { $0[volume] = nil }
            return
        }
        let seconds = pauses.withLock { pauses in
            let next = min((pauses[volume]?.seconds ?? firstPause / 2) * 2, Mender.longestPause)
            // Two servers that owe each other must not keep step.
            let nanoseconds = Int64(next * Double.random(in: 0.5...1) * 1e9)
            pauses[volume] = Pause(until: .now() + .nanoseconds(nanoseconds), seconds: next)
            return next
        }
        guard !problem.isExpected else { return }
        service.logger.warning(
            """
            volume \(volume): files that may differ from their copies could not be compared, \
            again within \(seconds) s: \(problem.text)
            """)
    }

    /// Why debts are not paid.
    private struct Problem {
        var text: String
        /// A holder does not answer: the other debts would only wait for it too.
        var isUnreachable = false
        /// Nothing to tell anybody.
        var isExpected = false
    }

    /// Pays debts of one volume; what went wrong, or `nil`.
    private func pay(_ debts: [(Debt, UInt64)], of volume: VolumeID) async -> Problem? {
        let ledger = service.copies.ledger
        guard let local = service.store.volume(volume) else {
            let now = WallClock.seconds
            for (debt, since) in debts where since + Mender.absentSeconds < now {
                guard case .absent = service.store.lookup(volume) else { break }
                service.logger.error("\(debt.fileID): not compared, its volume is not here")
                ledger.drop(debt)
            }
            return Problem(text: "the volume does not serve here", isExpected: true)
        }
        // After a failure of the disk nobody knows what is on it.
        guard !local.isFrozen else { return Problem(text: "the volume is read only here") }
        let copies = local.replication.copies
        let holders: [String]
        switch await service.copies.holders.find(volume, copies: max(copies, 2)) {
        case .success(let found): holders = found
        case .failure where copies == 1:
            for (debt, _) in debts { ledger.drop(debt) }
            return nil
        case .failure(let error):
            return Problem(text: error.message(for: volume, copies: copies))
        }
        return await withTaskGroup(of: Problem?.self) { group in
            var problem: Problem?
            for (index, (debt, _)) in debts.enumerated() {
                if index >= Mender.width, let result = await group.next(), let result {
                    problem = result
                    if result.isUnreachable { break }
                }
                group.addTask { await self.pay(debt, local, holders) }
            }
            for await result in group { problem = result ?? problem }
            return problem
        }
    }

    private func pay(_ debt: Debt, _ volume: Volume, _ holders: [String]) async -> Problem? {
        let ledger = service.copies.ledger
        guard ledger.beginMending(debt) else { return nil }
        let problem = await makeEqual(debt, volume, holders)
        if problem != nil { service.copies.holders.doubt(debt.volume) }
        ledger.endMending(debt, isEqual: problem == nil)
        return problem
    }

    /// Sends every holder what is here, or that there is nothing; what went wrong, or `nil`.
    private func makeEqual(_ debt: Debt, _ volume: Volume, _ holders: [String]) async -> Problem? {
        let id = debt.fileID
        let message: CopyMessage?
        do {
            message = try await service.diskPool.runIfActive {
                try volume.read(id.key, cookie: id.cookie).map { CopyMessage($0, id: id) }
            }
        } catch {
            return Problem(text: "\(id) cannot be read here: \(error)")
        }
        let pool = service.diskPool
        let token = service.changeToken(id)
        for holder in holders {
            do {
                let answer = try await service.copies.client.send {
                    message?.request(to: holder, token: token, pool: pool)
                        ?? DeleteMessage.request(id, to: holder, token: token)
                }
                if let message, let problem = message.problem(answer) {
                    return Problem(text: "\(holder): \(problem)")
                }
                // A file with another cookie is another file.
                if message == nil, answer.status != 400,
                    let problem = DeleteMessage.problem(answer)
                {
                    return Problem(text: "\(holder): \(problem)")
                }
            } catch {
                return Problem(text: error.description, isUnreachable: true)
            }
        }
        return nil
    }
}

extension VolumeService {
    /// Starts to pay debts in the background.
    func beginMending() {
        let mender = Mender(self, every: configuration.mendSeconds)
        state.withLock { $0.mender = mender }
        mender.start()
    }
}
