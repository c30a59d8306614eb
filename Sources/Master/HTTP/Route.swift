/// What a master answers on, by path.
enum Route: Sendable, Hashable {
    case assign, lookup, status
    case volumeGrow, volumeStatus, volumeVacuum, volumeLookup
    case collectionDelete, collectionInfo
    case submit, delete
    case clusterStatus, clusterHealth, health, ready
    case page, favicon
    case statsCounter, statsMemory
    /// One segment that is no other route: a file id.
    case file
    /// `//` or `/./` in the path.
    case unclean
    case unknown

    /// Who may answer a route when there are several masters.
    enum Audience: Sendable {
        /// Only the leader; others pass the request on to it.
        case leader
        /// Any master from what it knows itself.
        case anyone
    }

    var audience: Audience {
        switch self {
        case .assign, .status, .volumeGrow, .volumeStatus, .volumeVacuum, .collectionDelete:
            .leader
        default: .anyone
        }
    }

    /// Whether the white list guards it.
    var isGuarded: Bool {
        switch self {
        case .assign, .lookup, .status, .volumeGrow, .volumeStatus, .volumeVacuum, .volumeLookup,
            .collectionDelete, .collectionInfo, .submit, .delete:
            true
        default: false
        }
    }

    /// Whether it is left when everything but status pages is switched off.
    var isAlwaysOn: Bool {
        switch self {
        case .clusterStatus, .clusterHealth, .health, .ready, .page, .favicon: true
        default: false
        }
    }

    /// Finds the route of a path, as sent.
    ///
    /// Most frequent first.
    init(_ path: Span<UInt8>) {
        if path.is("/dir/assign") {
            self = .assign
        } else if path.is("/dir/lookup") {
            self = .lookup
        } else {
            self = Route.rare(path)
        }
    }

    private static let table: [(StaticString, Route)] = [
        ("/dir/status", .status), ("/vol/grow", .volumeGrow), ("/vol/status", .volumeStatus),
        ("/vol/vacuum", .volumeVacuum), ("/vol/lookup", .volumeLookup),
        ("/col/delete", .collectionDelete), ("/collection/info", .collectionInfo),
        ("/submit", .submit), ("/delete", .delete), ("/cluster/status", .clusterStatus),
        ("/cluster/healthz", .clusterHealth), ("/healthz", .health), ("/readyz", .ready),
        ("/", .page), ("/ui/index.html", .page), ("/favicon.ico", .favicon),
        ("/stats/counter", .statsCounter), ("/stats/memory", .statsMemory),
    ]

    private static func rare(_ path: Span<UInt8>) -> Route {
        for (text, route) in table where path.is(text) { return route }
        guard path.count > 1, path[0] == 0x2f else { return .unknown }
        var slashes = 0
        for i in path.indices where path[i] == 0x2f {
            slashes += 1
            if i + 1 < path.count, path[i + 1] == 0x2f { return .unclean }
        }
        return slashes == 1 ? .file : .unknown
    }
}

extension Span<UInt8> {
    /// Whether the bytes are those of a literal.
    func `is`(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        return unsafe withUnsafeBufferPointer {
            unsafe UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
                .elementsEqual($0)
        }
    }
}

extension String {
    /// Decodes UTF-8, replacing what is not.
    init(decoding bytes: Span<UInt8>) {
        self = unsafe bytes.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }
}
