import Glibc
import Logging

/// Writes log lines to standard error: time, level, what, then `key=value` pairs.
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level

    /// Sends every logger of the process to standard error.
    ///
    /// `verbosity` is what `-v` says: 0 tells what an operator must know, 1 adds what happens
    /// now and then, 2 and more what happens all the time.
    static func install(verbosity: Int) {
        let level: Logger.Level =
            switch verbosity {
            case ..<1: .info
            case 1: .debug
            default: .trace
            }
        LoggingSystem.bootstrap { _ in LineLogHandler(logLevel: level) }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        Terminal.error(
            LineLogHandler.line(
                at: LineLogHandler.now(), event.level, event.message.description,
                metadata.merging(event.metadata ?? [:]) { $1 }))
    }

    /// One line of the log.
    static func line(
        at time: String, _ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata
    ) -> String {
        var line = "\(time) \(mark(level)) "
        line += message.replacing("\n", with: "\\n")
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            let text = "\(value)".replacing("\n", with: "\\n")
            line += text.contains(" ") ? " \(key)=\"\(text)\"" : " \(key)=\(text)"
        }
        return line
    }

    private static func mark(_ level: Logger.Level) -> String {
        switch level {
        case .trace: "trace"
        case .debug: "debug"
        case .info, .notice: "info "
        case .warning: "warn "
        case .error, .critical: "ERROR"
        }
    }

    /// The local time to the millisecond.
    private static func now() -> String {
        var time = timespec()
        var parts = unsafe tm()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        unsafe localtime_r(&time.tv_sec, &parts)
        func two(_ value: CInt) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let milliseconds = String(1000 + time.tv_nsec / 1_000_000).dropFirst()
        let date = "\(1900 + Int(unsafe parts.tm_year))-\(two(unsafe parts.tm_mon + 1))"
        let clock = "\(two(unsafe parts.tm_hour)):\(two(unsafe parts.tm_min))"
        let day = two(unsafe parts.tm_mday)
        return "\(date)-\(day) \(clock):\(two(unsafe parts.tm_sec)).\(milliseconds)"
    }
}
