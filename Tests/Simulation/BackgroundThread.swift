import Glibc

/// A plain thread, so that simulations do not hold those of Swift's own pool.
final class BackgroundThread {
    private var thread = pthread_t()

    init(_ body: @escaping @Sendable () -> Void) {
        final class Start {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        let argument = unsafe Unmanaged.passRetained(Start(body)).toOpaque()
        let code = unsafe pthread_create(
            &thread, nil,
            { raw in
                guard let raw = unsafe raw else { return nil }
                unsafe Unmanaged<Start>.fromOpaque(raw).takeRetainedValue().body()
                return nil
            }, argument)
        precondition(code == 0, "no thread could be started: errno \(code)")
    }

    func join() { pthread_join(thread, nil) }
}
