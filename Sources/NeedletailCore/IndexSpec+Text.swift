extension IndexSpec: CustomStringConvertible {
    /// The canonical text: what `init(text:)` reads back as the same value.
    public var description: String {
        var stages: [String] = []
        if let prefix = transform.prefix { stages.append("prefix\(prefix)") }
        if transform.centre { stages.append("centre") }
        switch transform.map {
        case .none: break
        case .rotation(let seed): stages.append(seed == TransformSpec.defaultSeed ? "rotate" : "rotate(seed=\(seed))")
        case .pca(let count): stages.append("pca\(count)")
        case .leanVec(let count, let queryAware): stages.append("leanvec\(count)" + (queryAware ? "(queries)" : ""))
        case .whitening(let count): stages.append("whiten\(count)")
        case .fourier(let count): stages.append("fft\(count)")
        }
        stages.append(graphText)
        stages.append(codec.name)
        let arguments = [rescore.count.map(String.init), rescore.source == .file ? "file" : nil].compactMap { $0 }
        if !arguments.isEmpty { stages.append("rescore(\(arguments.joined(separator: ",")))") }
        return stages.joined(separator: ",")
    }

    private var graphText: String {
        let usual = GraphParameters()
        var arguments: [String] = []
        if graph.m != usual.m { arguments.append("m=\(graph.m)") }
        if graph.efConstruction != usual.efConstruction { arguments.append("ef_construction=\(graph.efConstruction)") }
        if graph.seed != usual.seed { arguments.append("seed=\(graph.seed)") }
        return arguments.isEmpty ? "hnsw" : "hnsw(\(arguments.joined(separator: ",")))"
    }

    /// Reads the text form. Whether the stages fit a field is for `validate`.
    /// - Throws: `invalidArgument` that quotes what was not understood.
    public init(text: String) throws(NeedletailError) {
        self.init()
        guard text.utf8.count <= 1024 else { throw Self.refused("an index spec has at most 1024 bytes") }
        var last = Place.start
        for stage in try Stage.split(text) {
            let place = try read(stage)
            guard place > last else {
                throw Self.refused("\"\(stage.text)\" is out of place: the order is transform, graph, codec, rescore, each at most once")
            }
            last = place
        }
    }

    private static func refused(_ message: String) -> NeedletailError { NeedletailError(.invalidArgument, "index spec: \(message)") }

    /// Where a stage may stand.
    private enum Place: Int, Comparable {
        case start, prefix, centre, map, graph, codec, rescore
        static func < (left: Place, right: Place) -> Bool { left.rawValue < right.rawValue }
    }

    private mutating func read(_ stage: Stage) throws(NeedletailError) -> Place {
        switch stage.name {
        case "prefix":
            transform.prefix = try stage.count()
            return .prefix
        case "centre", "center":
            try stage.expectNothing()
            transform.centre = true
            return .centre
        case "rotate", "pca", "leanvec", "whiten", "fft":
            transform.map = try map(stage)
            return .map
        case "hnsw":
            graph = try graph(stage)
            return .graph
        case "rescore":
            rescore = try rescore(stage)
            return .rescore
        default:
            guard stage.arguments.isEmpty, let codec = CodecSpec(name: stage.name + stage.digits) else {
                let codecs = CodecSpec.examples.map(\.name).joined(separator: ", ")
                throw Self.refused(
                    "\"\(stage.text)\" is no stage; there are prefixN, centre, rotate, pcaN, leanvecN, whitenN, fftN, hnsw, \(codecs), rescoreN")
            }
            self.codec = codec
            return .codec
        }
    }

    private func map(_ stage: Stage) throws(NeedletailError) -> TransformSpec.Map {
        switch stage.name {
        case "rotate":
            guard stage.digits.isEmpty else { throw Self.refused("\"\(stage.text)\": a rotation keeps all dimensions; write rotate") }
            let values = try stage.named(["seed"])
            return .rotation(seed: values["seed"] ?? TransformSpec.defaultSeed)
        case "leanvec":
            guard stage.arguments.isEmpty || stage.arguments == ["queries"] else {
                throw Self.refused("\"\(stage.text)\": leanvec takes no argument but queries, for a projection fitted to a sample of them")
            }
            return .leanVec(try stage.number(stage.digits), queryAware: !stage.arguments.isEmpty)
        case "pca": return .pca(try stage.count())
        case "whiten": return .whitening(try stage.count())
        default: return .fourier(try stage.count())
        }
    }

    private func graph(_ stage: Stage) throws(NeedletailError) -> GraphParameters {
        var graph = GraphParameters()
        if !stage.digits.isEmpty { graph.m = try stage.number(stage.digits) }
        let values = try stage.named(["m", "ef_construction", "seed"])
        if let m = values["m"] { graph.m = Int(clamping: m) }
        if let breadth = values["ef_construction"] { graph.efConstruction = Int(clamping: breadth) }
        if let seed = values["seed"] { graph.seed = seed }
        return graph
    }

    private func rescore(_ stage: Stage) throws(NeedletailError) -> RescoreSpec {
        var rescore = RescoreSpec()
        if !stage.digits.isEmpty { rescore.count = try stage.number(stage.digits) }
        for argument in stage.arguments {
            switch argument {
            case "file": rescore.source = .file
            case "memory": rescore.source = .memory
            default:
                guard argument.allSatisfy(\.isNumber) else {
                    throw Self.refused("\"\(stage.text)\": rescore takes a number of points, and where from: memory or file")
                }
                rescore.count = try stage.number(argument)
            }
        }
        return rescore
    }
}

/// One stage as written: a name, digits that follow it, arguments in parentheses.
private struct Stage {
    let text: String
    let name: String
    let digits: String
    let arguments: [String]

    /// Cuts a spec at the commas outside parentheses.
    static func split(_ text: String) throws(NeedletailError) -> [Stage] {
        var stages: [Stage] = []
        var current = ""
        var depth = 0
        var previous: Character = ","
        for character in text where !character.isWhitespace {
            defer { previous = character }
            guard previous != "-" || character == ">" || depth > 0 else { throw Self.refused("\"-\" stands only in \"->\"") }
            switch character {
            case "(": depth += 1
            case ")": depth -= 1
            case "-" where depth == 0: continue
            case ">" where depth == 0 && previous == "-", "→" where depth == 0, "," where depth == 0:
                stages.append(try Stage(current))
                current = ""
                continue
            default: break
            }
            guard (0...1).contains(depth) else { throw Self.refused("unbalanced parentheses in \"\(text)\"") }
            current.append(character)
        }
        guard depth == 0 else { throw Self.refused("unbalanced parentheses in \"\(text)\"") }
        if !current.isEmpty || !stages.isEmpty { stages.append(try Stage(current)) }
        return stages
    }

    private init(_ text: String) throws(NeedletailError) {
        self.text = text
        guard !text.isEmpty else { throw Self.refused("a stage is empty; write stages with one comma between them") }
        let head = text.prefix { $0 != "(" }.lowercased()
        var inside = text.dropFirst(head.count)
        if !inside.isEmpty {
            guard inside.last == ")" else { throw Self.refused("\"\(text)\": nothing may follow the parentheses") }
            inside = inside.dropFirst().dropLast()
        }
        arguments = inside.isEmpty ? [] : inside.lowercased().split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        // lvq8, f32 and the like end in digits that belong to the name; they are put together again where codecs are read.
        digits = String(head.reversed().prefix { $0.isASCII && $0.isNumber }.reversed())
        name = String(head.dropLast(digits.count))
    }

    private static func refused(_ message: String) -> NeedletailError { NeedletailError(.invalidArgument, "index spec: \(message)") }

    func number(_ digits: String) throws(NeedletailError) -> Int {
        guard let value = Int(digits), value >= 0, !digits.hasPrefix("+") else {
            throw Self.refused("\"\(text)\": expected a number, got \"\(digits)\"")
        }
        return value
    }

    /// The number that the stage ends in, and no argument.
    func count() throws(NeedletailError) -> Int {
        guard arguments.isEmpty else { throw Self.refused("\"\(text)\" takes no arguments: write \(name)\(digits)") }
        return try number(digits)
    }

    func expectNothing() throws(NeedletailError) {
        guard digits.isEmpty, arguments.isEmpty else { throw Self.refused("\"\(text)\": write \(name)") }
    }

    /// `name=number` arguments.
    func named(_ known: [String]) throws(NeedletailError) -> [String: UInt64] {
        var values: [String: UInt64] = [:]
        for argument in arguments {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, known.contains(String(parts[0])), let value = UInt64(parts[1]), values[String(parts[0])] == nil else {
                throw Self.refused("\"\(text)\": expected \(known.map { $0 + "=number" }.joined(separator: ", ")); got \"\(argument)\"")
            }
            values[String(parts[0])] = value
        }
        return values
    }
}
