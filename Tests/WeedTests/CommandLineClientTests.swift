import Glibc
import Synchronization
import TestSupport
import Testing

@testable import weed

@Suite("Command line: parts of upload, download and delete")
struct CommandLineClientTests {
    @Test(
        "the name in a Content-Disposition",
        arguments: [
            ("inline; filename=hello.txt", "hello.txt"),
            ("inline; filename=\"a b.txt\"", "a b.txt"),
            ("attachment; filename=\"a\\\"b;c.txt\"", "a\"b;c.txt"),
            ("inline; filename*=utf-8''%C3%BC%20n%20&%20%3Ca%3E.html", "ü n & <a>.html"),
            ("inline; filename=x; filename*=UTF-8''y", "y"),
            ("inline; filename=\"../../etc/passwd\"", "passwd"),
            ("inline; filename=\"c:\\\\temp\\\\a.txt\"", "a.txt"),
            ("inline; filename=\"..\"", nil), ("inline; filename=\"\"", nil), ("inline", nil),
            ("inline; filename*=utf-8''%C3%", nil), ("", nil),
            ("inline; filename*=latin1''x", nil),
        ] as [(String, String?)])
    func dispositions(header: String, name: String?) {
        #expect(DispositionName.parse(header) == name)
    }

    @Test(
        "a name as a parameter of a part",
        arguments: [
            ("a.txt", "filename=\"a.txt\""), ("a b;c.txt", "filename=\"a b;c.txt\""),
            ("ü.txt", "filename*=utf-8''%C3%BC.txt"), ("a\"b", "filename*=utf-8''a%22b"),
            ("a\nb", "filename*=utf-8''a%0Ab"), ("a\\b", "filename*=utf-8''a%5Cb"),
        ])
    func parameters(name: String, parameter: String) {
        #expect(UploadBody.parameter(name) == parameter)
        #expect(DispositionName.parse("x; \(parameter)") == (name == "a\\b" ? "b" : name))
    }

    @Test("results are printed as the Go original prints them")
    func json() {
        let stored = UploadResult(
            fileName: "ü n & <a>.html", url: "127.0.0.1:8080/6,18b0", fid: "6,18b0", size: 2)
        let empty = UploadResult(fileName: "zero", url: "h:1/1,02c1_1", fid: "1,02c1_1")
        let failed = UploadResult(fileName: "x", error: "why")
        #expect(
            UploadResult.json([stored, empty, failed])
                == "[{\"fileName\":\"ü n \\u0026 \\u003ca\\u003e.html\",\"url\":\"127.0.0.1:8080/6,18b0\","
                + "\"fid\":\"6,18b0\",\"size\":2},"
                + "{\"fileName\":\"zero\",\"url\":\"h:1/1,02c1_1\",\"fid\":\"1,02c1_1\"},"
                + "{\"fileName\":\"x\",\"error\":\"why\"}]")
    }

    @Test("a tree is walked in the order of names, links to directories are not entered")
    func tree() throws {
        let root = try TemporaryDirectory("tree")
        for directory in ["a", "a/deep", "b"] {
            #expect(unsafe mkdir(root.file(directory), 0o755) == 0)
        }
        for file in ["a.txt", "a/x.pdf", "a/deep/y.txt", "b/z.txt", "c.txt"] {
            try Files.write([1], to: root.file(file))
        }
        #expect(unsafe symlink("a", root.file("alink")) == 0)
        func names(_ pattern: String) throws -> [String] {
            try FileTree(root.path, pattern: pattern).map { entry in
                switch entry {
                case .file(let path): String(path.dropFirst(root.path.count + 1))
                case .unreadable(let path, _): "unreadable \(path)"
                }
            }
        }
        #expect(
            try names("") == ["a/deep/y.txt", "a/x.pdf", "a.txt", "alink", "b/z.txt", "c.txt"])
        #expect(try names("*.pdf") == ["a/x.pdf"])
        #expect(try names("?.txt") == ["a/deep/y.txt", "a.txt", "b/z.txt", "c.txt"])
        #expect(
            try FileTree(root.file("c.txt"), pattern: "").map { $0 } == [.file(root.file("c.txt"))])
        #expect(throws: ClientError.self) { try FileTree(root.file("nothing"), pattern: "") }
        #expect(throws: ClientError.self) { try SourceFile(root.file("a")) }
        #expect(unsafe mkfifo(root.file("pipe"), 0o644) == 0)
        #expect(throws: ClientError.self) { try SourceFile(root.file("pipe")) }
    }

    @Test("work is delivered in order, and little of it is under way")
    func ordered() async {
        let running = Atomic(0)
        let most = Atomic(0)
        var delivered: [Int] = []
        await Work.inOrder(0..<200, parallel: 5) { number in
            let now = running.add(1, ordering: .relaxed).newValue
            most.max(now, ordering: .relaxed)
            for _ in 0..<(number % 7) { await Task.yield() }
            running.subtract(1, ordering: .relaxed)
            return number
        } deliver: {
            delivered.append($0)
        }
        #expect(delivered == Array(0..<200))
        #expect(most.load(ordering: .relaxed) <= 5)
    }
}
