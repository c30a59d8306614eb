import Glibc
import Histogram
import Model
import Wire

/// The result of a benchmark, for people and for programs.
struct BenchmarkReport {
    /// The phases in order.
    let results: [PhaseResult]
    /// How many connections there were.
    let concurrency: Int
    /// Bytes of a file.
    let size: Int

    private static let percentiles: [Double] = [50, 75, 90, 95, 98, 99, 99.9, 100]

    /// For people.
    var text: String {
        results.map(text).joined(separator: "\n")
    }

    private func text(_ result: PhaseResult) -> String {
        let rate = Double(result.completed) / max(result.seconds, 1e-9)
        let transfer = Double(result.measured.bytes) / max(result.seconds, 1e-9) / 1024
        let latencies = result.measured.latencies
        var lines = [
            "", "------------ \(title(result.kind)) ----------",
            "Concurrency level:      \(concurrency)",
            "File size:              \(size) bytes",
            "Time taken for tests:   \(fixed(result.seconds, 3)) seconds",
            "Completed requests:     \(result.completed)",
            "Failed requests:        \(result.failed)",
            "Total transferred:      \(result.measured.bytes) bytes",
            "Requests per second:    \(fixed(rate, 2)) [#/sec]",
            "Transfer rate:          \(fixed(transfer, 2)) [Kbytes/sec]",
        ]
        guard latencies.totalCount > 0 else { return lines.joined(separator: "\n") }
        lines += [
            "", "Request times (ms)",
            "              min      avg      max      std",
            "         "
                + [
                    Double(latencies.min), latencies.mean, Double(latencies.max),
                    latencies.stdDeviation,
                ].map { padded(fixed($0 / 1000, 2), 8) }.joined(separator: " "),
            "", "Percentage of the requests served within a certain time (ms)",
        ]
        for percentile in BenchmarkReport.percentiles {
            let name = percentile == 99.9 ? "99.9" : String(Int(percentile))
            let value = fixed(Double(latencies.valueAtPercentile(percentile)) / 1000, 2)
            lines.append("  \(padded(name, 5))%  \(padded(value, 9)) ms")
        }
        return lines.joined(separator: "\n")
    }

    private func title(_ kind: PhaseKind) -> String {
        switch kind {
        case .write: "Writing benchmark"
        case .read: "Random reading benchmark"
        case .delete: "Deleting benchmark"
        }
    }

    /// For programs; times in microseconds.
    var json: String {
        var json = JSONWriter(pretty: true)
        json.object {
            $0.field("version", Version.text)
            $0.field("concurrency", concurrency)
            $0.field("fileSize", size)
            $0.array("phases") { phases in
                for result in results { phases.object { fields(result, &$0) } }
            }
        }
        return json.text
    }

    private func fields(_ result: PhaseResult, _ json: inout JSONWriter) {
        let latencies = result.measured.latencies
        json.field("phase", result.kind.rawValue)
        json.field("seconds", result.seconds)
        json.field("completed", result.completed)
        json.field("failed", result.failed)
        json.field("bytes", result.measured.bytes)
        json.field("requestsPerSecond", Double(result.completed) / max(result.seconds, 1e-9))
        guard latencies.totalCount > 0 else { return }
        json.object("microseconds") {
            $0.field("min", latencies.min)
            $0.field("mean", latencies.mean)
            $0.field("max", latencies.max)
            $0.field("stdDeviation", latencies.stdDeviation)
            for percentile in BenchmarkReport.percentiles.dropLast() {
                let name = percentile == 99.9 ? "p99.9" : "p\(Int(percentile))"
                $0.field(name, latencies.valueAtPercentile(percentile))
            }
        }
    }

    private func fixed(_ value: Double, _ digits: Int) -> String {
        var scale = 1
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int((value * Double(scale)).rounded())
        guard digits > 0 else { return String(scaled) }
        let fraction = String(abs(scaled) % scale)
        return "\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count)
            + fraction
    }

    private func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }
}

/// A file with one file id a line.
enum FileList {
    /// Writes the ids.
    static func write(_ files: [UploadedFile], to path: String) throws(CommandFailure) {
        guard let stream = unsafe fopen(path, "w") else { throw failure("write", path) }
        for file in files {
            unsafe fputs("\(file.id)\n", stream)
        }
        guard unsafe fclose(stream) == 0 else { throw failure("write", path) }
    }

    /// Reads the ids; a line that is none is an error.
    static func read(_ path: String) throws(CommandFailure) -> [UploadedFile] {
        guard let stream = unsafe fopen(path, "r") else { throw failure("read", path) }
        defer { unsafe fclose(stream) }
        var files: [UploadedFile] = []
        var line = [CChar](repeating: 0, count: 256)
        var number = 0
        while unsafe fgets(&line, CInt(line.count), stream) != nil {
            number += 1
            let bytes = line.prefix { $0 != 0 && $0 != 10 && $0 != 13 }.map(UInt8.init(bitPattern:))
            let text = String(decoding: bytes, as: UTF8.self)
            guard !text.isEmpty else { continue }
            do {
                files.append(UploadedFile(id: try FileID(text)))
            } catch {
                throw CommandFailure("\(path), line \(number): \(error.description)")
            }
        }
        guard !files.isEmpty else { throw CommandFailure("\(path) has no file ids in it") }
        return files
    }

    private static func failure(_ verb: String, _ path: String) -> CommandFailure {
        CommandFailure("cannot \(verb) \(path): \(unsafe String(cString: strerror(errno)))")
    }
}
