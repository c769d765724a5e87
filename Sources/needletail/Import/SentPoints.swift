import NeedletailClient

/// Which points of a file are on their way and not acknowledged, to find the place in the file of one that the cluster refuses.
struct SentPoints {
    private let file: String
    private let placeName: String
    private var ids: [PointID] = []
    private var places: [Int] = []

    init(file: String, placeName: String) {
        self.file = file
        self.placeName = placeName
    }

    mutating func add(_ batch: ImportBatch) {
        ids += batch.ids
        places += batch.places
    }

    mutating func acknowledged() {
        ids.removeAll(keepingCapacity: true)
        places.removeAll(keepingCapacity: true)
    }

    /// The error with the place of the point it is about. A cluster that refuses a point begins its message with "point ID"; of an id
    /// that was sent several times nobody can tell which one it was, so all its places are named.
    func locate(_ error: NeedletailError) -> NeedletailError {
        guard error.code == .invalidArgument, let id = Self.point(error.message) else { return error }
        let found = zip(ids, places).filter { $0.0 == id }.map { "\($0.1)" }
        guard !found.isEmpty else { return error }
        return NeedletailError(error.code, "\(file), \(placeName) \(found.joined(separator: " or ")): \(error.message)", cause: error)
    }

    private static func point(_ message: String) -> PointID? {
        let words = message.split(separator: " ", maxSplits: 2)
        guard words.count > 1, words[0] == "point" else { return nil }
        return PointID(String(words[1].hasSuffix(":") ? words[1].dropLast() : words[1]))
    }
}
