import HTTPServer
import NIOCore
import Needles
import Synchronization
import Wire

extension VolumeService {
    /// Answers the fixed paths; `false` when the path is none of them.
    func page(_ request: HTTPRequest, _ exchange: Exchange) -> Bool {
        switch request.path {
        case "/status": status(request, exchange)
        case "/healthz", "/readyz":
            respondEmpty(exchange, to: request, isStopping ? 503 : 200)
        case "/ui/index.html": overview(request, exchange)
        case "/favicon.ico":
            exchange.respond(204, body: .none) { self.addCommonHeaders(&$0, for: request) }
        case "/stats/disk": statistics(request, exchange, "DiskStatuses") { self.disks(&$0) }
        case "/stats/memory": statistics(request, exchange, "Memory") { self.memory(&$0) }
        case "/stats/counter": statistics(request, exchange, "Counters") { self.counts(&$0) }
        case "/delete": batchDelete(request, exchange)
        default:
            guard request.path.hasPrefix("/seaweedfsstatic/") else { return false }
            respondEmpty(exchange, to: request, 404)
        }
        return true
    }

    private func status(_ request: HTTPRequest, _ exchange: Exchange) {
        var json = JSONWriter(pretty: request.wantsPretty)
        json.object {
            $0.array("DiskStatuses") { json in
                for directory in store.directoryStatuses {
                    StatusJSON.write(directory, to: &json)
                }
            }
            $0.field("Version", configuration.version)
            $0.array("Volumes") { json in
                for volume in StatusJSON.sorted(store.volumes) {
                    json.value(volume)
                }
            }
        }
        respond(exchange, to: request, 200, json: json)
    }

    private func statistics(
        _ request: HTTPRequest, _ exchange: Exchange, _ name: String,
        _ body: (inout JSONWriter) -> Void
    ) {
        var json = JSONWriter(pretty: request.wantsPretty)
        json.object {
            $0.field("Version", configuration.version)
            $0.key(name)
            body(&$0)
        }
        respond(exchange, to: request, 200, json: json)
    }

    private func disks(_ json: inout JSONWriter) {
        json.array { json in
            for directory in store.directoryStatuses {
                json.object {
                    $0.field("Dir", directory.path)
                    $0.field("All", directory.all)
                    $0.field("Used", directory.used)
                    $0.field("Free", directory.free)
                }
            }
        }
    }

    private func memory(_ json: inout JSONWriter) {
        json.object {
            $0.field("UploadBytes", budget.used)
            $0.field("UploadLimit", MemoryBudget.defaultBytes)
        }
    }

    private func counts(_ json: inout JSONWriter) {
        json.object {
            $0.field("Reads", counters.reads.load(ordering: .relaxed))
            $0.field("Writes", counters.writes.load(ordering: .relaxed))
            $0.field("Deletes", counters.deletes.load(ordering: .relaxed))
            $0.field("Failures", counters.failures.load(ordering: .relaxed))
            $0.field("OwedCopies", copies.ledger.debtCount)
        }
    }

    private func overview(_ request: HTTPRequest, _ exchange: Exchange) {
        guard !writeTokens.isActive || configuration.showsPagesWithKey else {
            return respondEmpty(exchange, to: request, 404)
        }
        let html = OverviewPage(
            url: url, masters: configuration.masters, version: configuration.version,
            directories: store.directoryStatuses, volumes: StatusJSON.sorted(store.volumes)
        ).html
        respond(
            exchange, to: request, 200, type: "text/html; charset=utf-8",
            body: exchange.allocator.buffer(string: html))
    }
}
