import Glibc
import Platform

/// The files below a directory, in the order of their names, as the Go original walks them.
///
/// Symbolic links are not followed into directories. Held in memory are the names of the directories
/// on the way, not of all files.
struct FileTree: Sequence, IteratorProtocol, Sendable {
    /// What was found.
    enum Entry: Sendable, Equatable {
        /// A file, or a link to something.
        case file(String)
        /// A directory that cannot be read, and why.
        case unreadable(String, why: String)
    }

    /// How deep directories may be nested.
    static let depthLimit = 1000

    private var stack: [(directory: String, names: ArraySlice<String>)] = []
    private var first: Entry?
    private let pattern: String

    /// The tree below `root`, only names that match `pattern` when it is not empty.
    ///
    /// A root that is a file is the whole tree.
    init(_ root: String, pattern: String) throws(ClientError) {
        self.pattern = pattern
        switch FileTree.isDirectory(root) {
        case nil: throw .local(root, code: errno)
        case false?: first = matches(root) ? .file(root) : nil
        case true?:
            let root = root.count > 1 && root.hasSuffix("/") ? String(root.dropLast()) : root
            do {
                try stack.append((root, PosixDisk().list(root)[...]))
            } catch {
                throw .local(root, code: error.code)
            }
        }
    }

    mutating func next() -> Entry? {
        if let entry = first {
            first = nil
            return entry
        }
        while !stack.isEmpty {
            let level = stack.count - 1
            guard let name = stack[level].names.popFirst() else {
                stack.removeLast()
                continue
            }
            let directory = stack[level].directory
            let path = directory == "/" ? "/\(name)" : "\(directory)/\(name)"
            guard FileTree.isDirectory(path) == true else {
                if matches(path) { return .file(path) }
                continue
            }
            guard stack.count < FileTree.depthLimit else {
                return .unreadable(
                    path, why: "more than \(FileTree.depthLimit) directories deep; not read")
            }
            do {
                try stack.append((path, PosixDisk().list(path)[...]))
            } catch {
                return .unreadable(path, why: ClientError.local(path, code: error.code).description)
            }
        }
        return nil
    }

    private func matches(_ path: String) -> Bool {
        guard !pattern.isEmpty else { return true }
        let name = path.split(separator: "/").last.map(String.init) ?? path
        return unsafe fnmatch(pattern, name, 0) == 0
    }

    /// Whether `path` itself, and not what it links to, is a directory; `nil` when there is nothing.
    private static func isDirectory(_ path: String) -> Bool? {
        var status = stat()
        guard unsafe lstat(path, &status) == 0 else { return nil }
        return status.st_mode & S_IFMT == S_IFDIR
    }
}
