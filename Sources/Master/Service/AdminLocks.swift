/// Locks that tools hold while they change the cluster, by name.
///
/// Times are unix nanoseconds.
struct AdminLocks: Sendable {
    /// How long a lock is held without being renewed.
    static let lease: Int64 = 10_000_000_000
    /// Names remembered.
    static let limit = 1000
    /// Bytes of a name, a client, a message that are kept.
    static let textBytes = 1024

    /// The start of a text that is too long.
    private static func cut(_ text: String) -> String {
        text.utf8.count <= textBytes
            ? text : String(decoding: text.utf8.prefix(textBytes), as: UTF8.self)
    }

    private struct Lock {
        var token: Int64
        var time: Int64
        var client: String
        var message: String
    }

    private var locks: [String: Lock] = [:]

    /// Takes or renews a lock.
    ///
    /// Token and time both change; whoever renews must give the last ones.
    mutating func lease(
        _ name: String, token: Int64, time: Int64, client: String, message: String, now: Int64,
        random: inout some RandomNumberGenerator
    ) throws(AdminLockRefusal) -> (token: Int64, time: Int64) {
        let name = AdminLocks.cut(name)
        if let held = holder(name, now: now), held.token != token || held.time != time {
            throw AdminLockRefusal.held(client: held.client, message: held.message)
        }
        locks = locks.filter { now - $0.value.time < AdminLocks.lease }
        guard locks[name] != nil || locks.count < AdminLocks.limit else {
            throw AdminLockRefusal.tooMany
        }
        let renewed = Lock(
            token: Int64.random(in: 1 ... .max, using: &random),
            time: max(now, (locks[name]?.time ?? 0) + 1),
            client: AdminLocks.cut(client), message: AdminLocks.cut(message))
        locks[name] = renewed
        return (renewed.token, renewed.time)
    }

    /// Gives a lock back; a lock that is held by somebody else stays.
    mutating func release(_ name: String, token: Int64, time: Int64) {
        let name = AdminLocks.cut(name)
        guard let held = locks[name], held.token == token, held.time == time else { return }
        locks[name] = nil
    }

    /// Who holds a lock, and what for; `nil` when it is free.
    func status(_ name: String, now: Int64) -> (client: String, message: String)? {
        holder(AdminLocks.cut(name), now: now).map { ($0.client, $0.message) }
    }

    private func holder(_ name: String, now: Int64) -> Lock? {
        locks[name].flatMap { now - $0.time < AdminLocks.lease ? $0 : nil }
    }
}

/// Why a lock is not given.
enum AdminLockRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    case held(client: String, message: String)
    case tooMany

    var description: String {
        switch self {
        case .held(let client, let message): "already locked by \(client): \(message)"
        case .tooMany: "\(AdminLocks.limit) locks are held: none can be added"
        }
    }
}
