import Synchronization

/// How often requests of each kind came, for `/stats/counter`.
final class Counters: Sendable {
    let reads = Atomic<UInt64>(0)
    let writes = Atomic<UInt64>(0)
    let deletes = Atomic<UInt64>(0)
    let failures = Atomic<UInt64>(0)

    /// Counts one.
    func count(_ counter: borrowing Atomic<UInt64>) {
        counter.wrappingAdd(1, ordering: .relaxed)
    }
}
