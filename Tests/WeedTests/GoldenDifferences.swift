import TestSupport

/// What our server must answer for one needle of a golden directory.
enum GoldenExpectation: Equatable {
    /// What the manifest records.
    case recorded
    /// 200 with the bytes that were stored, whatever the manifest records.
    case intact
    /// 404.
    case missing
    /// One of these statuses; 200 only with the bytes that were stored.
    case anyOf(Set<Int>)
}

/// Where a careful server answers otherwise than the Go original did, and why.
struct GoldenDifference {
    /// The golden directory.
    let directory: String
    /// The needle's key in hex without leading zeros; `nil` is all of the directory.
    let key: String?
    let expectation: GoldenExpectation
    let reason: String

    init(
        _ directory: String, _ key: String?, _ expectation: GoldenExpectation, _ reason: String
    ) {
        self.directory = directory
        self.key = key
        self.expectation = expectation
        self.reason = reason
    }
}

/// The table of all differences.
///
/// Everything not named here must be as recorded.
enum GoldenDifferences {
    /// The expectation for one needle, with its reason when it is not the record.
    static func of(_ name: String, key: String) -> (GoldenExpectation, reason: String?) {
        let found = table.first { $0.directory == name && ($0.key == nil || $0.key == key) }
        guard let found else { return (.recorded, nil) }
        return (found.expectation, found.reason)
    }

    /// Empty files that the original's compaction replayed: it wrote another cookie than theirs into the
    /// record, so the right one cannot be told and any cookie reads them.
    static func cookieIsLost(_ name: String, key: String) -> Bool {
        name == "11-compacted/vacuum-with-writes" && key == "9a3f"
    }

    /// Directories whose `.dat` may lose bytes behind the last whole record while loading.
    static let tailMayBeCut: Set<String> = [
        "12-truncated-tail/a-inside-data", "12-truncated-tail/b-inside-header",
        "12-truncated-tail/c-inside-footer", "12-truncated-tail/d-padding-short",
        "12-truncated-tail/g-tombstone-cut", "12-truncated-tail/i-zero-tail",
        "12-truncated-tail/j-garbage-tail", "12-truncated-tail/k-half-record-tail",
        "13-bit-flip/m-last-record-size", "22-tools/fix-half-tail", "22-tools/fix-header-tail",
        "22-tools/fix-zero-tail", "27-index-rebuild/c-half-tail", "27-index-rebuild/d-zero-tail",
    ]

    /// Directories whose files change by finishing a compaction that had reached its commit point.
    static let compactionFinished: Set<String> = [
        "19-crash-states/b-marker-nothing-renamed", "19-crash-states/c-marker-dat-renamed",
    ]

    /// Directories whose `.idx` names bytes that are not there: keeping it would hand a wrong
    /// index to the next reader, so it may be rewritten or removed.
    static let indexMayChange: Set<String> = [
        "12-truncated-tail/e-record-missing", "12-truncated-tail/f-two-records-missing",
        "12-truncated-tail/h-tombstone-missing", "14-index-damage/a-last-row-missing",
        "14-index-damage/b-last-tombstone-row-missing", "14-index-damage/c-empty-index",
        "14-index-damage/d-torn-row", "14-index-damage/e-past-end",
        "14-index-damage/k-head-tombstones-other",
    ]

    /// Directories where an upload may be accepted or refused, unlike the record says.
    ///
    /// The original goes read-only for good after finding a bad tail; a repaired volume may
    /// take writes again.
    static func writeMayDiffer(_ name: String) -> Bool {
        name.hasPrefix("12-") || name.hasPrefix("13-") || name.hasPrefix("14-")
    }

    static let table: [GoldenDifference] = tails + flips + indexes + startup

    private static let cut: GoldenExpectation = .anyOf([404, 500])

    private static let tails: [GoldenDifference] = [
        .init(
            "12-truncated-tail/a-inside-data", "371", cut,
            "its bytes are gone; once the tail is cut it is unknown"),
        .init("12-truncated-tail/b-inside-header", "371", cut, "as above"),
        .init("12-truncated-tail/c-inside-footer", "371", .anyOf([200, 404, 500]), "as above"),
        .init(
            "12-truncated-tail/d-padding-short", "371", .anyOf([200, 404, 500]),
            "only a byte without meaning is gone: serving it is welcome, not owed"),
        .init(
            "12-truncated-tail/e-record-missing", "371", cut,
            "the index lists a record that is not there"),
        .init("12-truncated-tail/f-two-records-missing", "371", cut, "as above"),
        .init("12-truncated-tail/f-two-records-missing", "36b", cut, "as above"),
        .init("22-tools/fix-half-tail", "371", cut, "the index lists half a record"),
    ]

    private static let flips: [GoldenDifference] = [
        .init(
            "13-bit-flip/d-size-low", "362", .anyOf([200, 404, 500]),
            "index and record disagree about the size; the bytes may be proven by their checksum"),
        .init(
            "13-bit-flip/f-needle-id", "362", .anyOf([404, 500]),
            "the record says it is another needle: the original does not look, we do"),
        .init(
            "13-bit-flip/i-flags", "362", .anyOf([200, 500]),
            "a flipped flag makes the original misread the time; the bytes are right"),
        .init(
            "13-bit-flip/j-data-size", "362", .anyOf([404, 500]),
            "found as damage by the checksum or by the scan"),
        .init(
            "13-bit-flip/k-name-size", "362", .anyOf([200, 404, 500]),
            "the data is intact, its metadata is not"),
        .init(
            "13-bit-flip/a-data", "362", .anyOf([404, 500]), "never wrong bytes, either status"),
        .init(
            "13-bit-flip/c-checksum", "362", .anyOf([404, 500]),
            "never unproven bytes, either status"),
        .init(
            "13-bit-flip/m-last-record-size", "371", .anyOf([200, 404, 500]),
            "a damaged size of the last record looks like a torn tail"),
    ]

    private static let indexes: [GoldenDifference] = [
        .init(
            "14-index-damage/a-last-row-missing", "371", .intact,
            "the record is in .dat: a missing row is the normal state after a crash"),
        .init(
            "14-index-damage/b-last-tombstone-row-missing", "377", .missing,
            "the delete is in .dat: it must not be forgotten"),
        .init(
            "14-index-damage/c-empty-index", nil, .intact,
            "an empty index beside a full .dat is a lost index, not an empty volume"),
        .init(
            "14-index-damage/d-torn-row", nil, .intact,
            "a torn row costs one row, which .dat still has, and not the volume"),
        .init(
            "14-index-damage/h-wrong-size", "35b", .anyOf([200, 500]),
            "the record in .dat is whole: serving it is welcome"),
        .init(
            "14-index-damage/i-swapped-offset", "356", .anyOf([200, 404, 500]),
            "its own record is whole, the index points elsewhere; never the other needle's bytes"),
    ]

    private static let startup: [GoldenDifference] = [
        .init(
            "26-startup/d-superblock-extra", nil, .intact,
            "the extra section is skipped; the original cannot load such a volume"),
        .init(
            "26-startup/h-dat-only", nil, .anyOf([200, 404]),
            "a .dat alone is ignored by the original; an index can be rebuilt"),
        .init(
            "26-startup/i-note", nil, .anyOf([200, 404, 500]),
            "the mark of an unfinished copy; the original deletes the files"),
        .init(
            "26-startup/e-short-superblock", nil, .anyOf([404, 500]),
            "files that cannot be used are an error, not an unknown volume"),
        .init("26-startup/f-empty-dat", nil, .anyOf([404, 500]), "as above"),
        .init(
            "26-startup/j-unavailable", nil, .anyOf([200, 404, 500, 503]),
            "the original's mark of a failed write; its needles are whole"),
        .init(
            "27-index-rebuild/e-negative-size", "362", .anyOf([404, 500]),
            "the damaged record itself"),
        .init(
            "27-index-rebuild/e-negative-size", nil, .intact,
            "needles behind the damage are found again"),
    ]
}
