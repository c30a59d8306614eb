import Logging
import Model
import Testing

@testable import Volume

@Suite("What reads are told and tell")
struct ReadContextTests {
    @Test("a damaged file is told of once, until very many are")
    func failuresAreToldOnce() {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let log = ReadFailureLog(logger)
        let error = ContentEndedEarly(offset: 1)
        let file = { (key: Int) in FileID(volume: 3, key: UInt64(key), cookie: 1) }
        #expect(log.report(file(0), error))
        #expect(!log.report(file(0), error))
        for key in 1...ReadFailureLog.maxRemembered { #expect(log.report(file(key), error)) }
        #expect(log.report(file(0), error))
    }

    @Test("parameters of a read")
    func query() {
        let none = ReadQuery([])
        #expect(!none.includesDeleted && !none.wantsManifest && !none.isProxied)
        let all = ReadQuery([
            ("readDeleted", "true"), ("cm", "false"), ("proxied", "true"), ("collection", "a b"),
            ("readDeleted", "false"),
        ])
        #expect(all.includesDeleted && all.wantsManifest && all.isProxied)
        #expect(all.collection == "a b")
        #expect(!ReadQuery([("readDeleted", "1"), ("cm", "0")]).includesDeleted)
    }

    @Test("the address of a file on another server")
    func location() {
        let id = FileID(volume: 3, key: 1, cookie: 0x6370_37d6)
        #expect(
            ReadElsewhere.location(of: id, at: "h:8080", collection: "")
                == "http://h:8080/3,01637037d6?proxied=true")
        #expect(
            ReadElsewhere.location(of: id, at: "h:8080", collection: "a&b\r\n")
                == "http://h:8080/3,01637037d6?collection=a%26b%0D%0A&proxied=true")
    }
}
