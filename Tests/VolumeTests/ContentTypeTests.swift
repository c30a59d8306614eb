import Testing

@testable import Volume

@Suite("Content types")
struct ContentTypeTests {
    @Test(
        "an extension implies a type, in any case",
        arguments: [
            ("html", "text/html; charset=utf-8"), ("HTML", "text/html; charset=utf-8"),
            (".htm", "text/html; charset=utf-8"), ("css", "text/css; charset=utf-8"),
            ("js", "text/javascript; charset=utf-8"), ("json", "application/json"),
            ("txt", "text/plain; charset=utf-8"), ("csv", "text/csv; charset=utf-8"),
            ("bin", "application/octet-stream"), ("gz", "application/gzip"),
            ("doc", "application/msword"), ("zip", "application/zip"), ("jpg", "image/jpeg"),
            ("webmanifest", "application/manifest+json"), ("svg", "image/svg+xml"),
        ])
    func byExtension(ext: String, type: String) {
        #expect(ContentType.forExtension(ext) == type)
    }

    @Test(
        "extensions that imply nothing",
        arguments: ["", ".", "dat", "hidden", "html ", "averylongextensionthatnobodyhas", "ä"])
    func unknownExtension(ext: String) {
        #expect(ContentType.forExtension(ext) == nil)
    }

    @Test(
        "the extension of a name is what follows its last dot",
        arguments: [
            ("a.tar.gz", "application/gzip"), ("UPPER.HTML", "text/html; charset=utf-8"),
            ("héllo wörld ☃.bin", "application/octet-stream"), ("c.dat", nil), (".hidden", nil),
            ("name.", nil), ("no-extension", nil), ("dir.png/name", nil), ("", nil),
            (".png", "image/png"),
        ] as [(String, String?)])
    func byName(name: String, type: String?) {
        let found = ContentType.forName(name.utf8.span)
        #expect(found == type)
    }

    @Test("every type of the table is found under every extension of its row")
    func tableIsConsistent() {
        var seen: Set<Substring> = []
        for (type, extensions) in ContentType.known {
            for ext in extensions.split(separator: " ") {
                #expect(seen.insert(ext).inserted, "\(ext) is listed twice")
                #expect(ContentType.forExtension(String(ext)) == type)
            }
            #expect(!type.hasPrefix("text/") || type.hasSuffix("; charset=utf-8"))
        }
    }

    @Test(
        "octet-stream with or without parameters says nothing",
        arguments: [
            ("application/octet-stream", true), ("application/octet-stream; x=y", true),
            ("application/octet", false), ("", false),
        ])
    func opaque(mime: String, isOpaque: Bool) {
        let found = ContentType.isOpaque(mime.utf8.span)
        #expect(found == isOpaque)
    }

    @Test(
        "first bytes betray the type",
        arguments: [
            (Array("plain words\n".utf8), "text/plain; charset=utf-8"),
            (Array("".utf8), "text/plain; charset=utf-8"),
            ([0x00, 0x01, 0x02], "application/octet-stream"),
            (Array("text with \u{1b} escape".utf8), "text/plain; charset=utf-8"),
            (Array("text with \u{1} control".utf8), "application/octet-stream"),
            (Array("<html>".utf8), "text/html; charset=utf-8"),
            (Array("  \n<!DocType HTML >".utf8), "text/html; charset=utf-8"),
            (Array("<!-- x".utf8), "text/html; charset=utf-8"),
            (Array("<htmlx".utf8), "text/plain; charset=utf-8"),
            (Array("<b".utf8), "text/plain; charset=utf-8"),
            (Array(" <?xml version".utf8), "text/xml; charset=utf-8"),
            (Array("%PDF-1.7".utf8), "application/pdf"),
            (Array("%!PS-Adobe-3".utf8), "application/postscript"),
            ([0xfe, 0xff, 0x00, 0x41], "text/plain; charset=utf-16be"),
            ([0xff, 0xfe, 0x41, 0x00], "text/plain; charset=utf-16le"),
            ([0xef, 0xbb, 0xbf, 0x01], "text/plain; charset=utf-8"),
            (Array("GIF89a…".utf8), "image/gif"),
            ([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], "image/png"),
            ([0xff, 0xd8, 0xff, 0xe0], "image/jpeg"),
            (Array("RIFF....WEBPVP8 ".utf8), "image/webp"),
            (Array("RIFF....WAVEfmt ".utf8), "audio/wave"),
            (Array("RIFF....AVI LIST".utf8), "video/avi"),
            (Array("FORM....AIFF".utf8), "audio/aiff"),
            (Array("BMx".utf8), "image/bmp"), ([0, 0, 1, 0, 1], "image/x-icon"),
            (Array("ID3\u{3}".utf8), "audio/mpeg"), (Array("OggS\0x".utf8), "application/ogg"),
            ([0x1a, 0x45, 0xdf, 0xa3], "video/webm"),
            ([0, 0, 0, 20] + Array("ftypmp42\0\0\0\0isom".utf8), "video/mp4"),
            ([0, 0, 0, 16] + Array("ftypisom\0\0\0\0mp42".utf8), "application/octet-stream"),
            ([0x00, 0xff, 0xff, 0xfc] + Array("ftypmp42".utf8), "application/octet-stream"),
            ([0x00, 0x01, 0x00, 0x00], "font/ttf"), (Array("wOF2".utf8), "font/woff2"),
            (
                [UInt8](repeating: 0, count: 34) + Array("LP".utf8),
                "application/vnd.ms-fontobject"
            ),
            ([0x1f, 0x8b, 0x08], "application/x-gzip"),
            ([0x50, 0x4b, 0x03, 0x04], "application/zip"),
            ([0x00, 0x61, 0x73, 0x6d], "application/wasm"),
        ] as [([UInt8], String)])
    func sniff(bytes: [UInt8], type: String) {
        let found = ContentType.sniff(bytes.span)
        #expect(found == type)
    }

    @Test("only the first 512 bytes are looked at")
    func sniffIsBounded() {
        let text = [UInt8](repeating: 0x61, count: 512) + [0]
        let front = ContentType.sniff(text.span)
        let shifted = ContentType.sniff(text.span.extracting(1..<text.count))
        #expect(front == "text/plain; charset=utf-8")
        #expect(shifted == "application/octet-stream")
    }

    @Test("sniffing survives every prefix of noise", arguments: [1, 2, 3] as [UInt64])
    func sniffNoise(seed: UInt64) {
        var generator = ReadNoise(seed: seed)
        for _ in 0..<2000 {
            let bytes = generator.bytes(upTo: 48)
            let type = ContentType.sniff(bytes.span)
            #expect(!type.isEmpty, "seed \(seed)")
        }
    }
}
