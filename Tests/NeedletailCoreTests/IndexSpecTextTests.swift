import NeedletailCore
import NeedletailTestSupport
import Testing

/// The text form of an index spec: what is written is read back, and what cannot be read is refused in words.
@Suite struct IndexSpecTextTests {
    static let transforms: [TransformSpec.Map] = [
        .none, .rotation(seed: TransformSpec.defaultSeed), .rotation(seed: 7), .rotation(seed: .max), .pca(160), .leanVec(160, queryAware: false),
        .leanVec(160, queryAware: true), .whitening(160), .fourier(160),
    ]
    static let graphs = [
        GraphParameters(), GraphParameters(m: 4, efConstruction: 4), GraphParameters(m: 128, efConstruction: 4096, seed: 0),
        GraphParameters(m: 32, seed: .max),
    ]
    static let rescores = [
        RescoreSpec(), RescoreSpec(count: 1), RescoreSpec(count: Limits.ef), RescoreSpec(source: .file), RescoreSpec(count: 50, source: .file),
    ]

    /// Every combination of stages, whether a field takes it or not.
    @Test(arguments: CodecSpec.examples) func everyCombinationRoundTrips(codec: CodecSpec) throws {
        for prefix in [nil, 1, 256] {
            for centre in [false, true] {
                for map in Self.transforms {
                    for graph in Self.graphs {
                        for rescore in Self.rescores {
                            let transform = TransformSpec(prefix: prefix, centre: centre, map: map)
                            let spec = IndexSpec(transform: transform, graph: graph, codec: codec, rescore: rescore)
                            let text = spec.description
                            try #require(try IndexSpec(text: text) == spec, "\(text)")
                            try #require(try IndexSpec(text: text).description == text)
                        }
                    }
                }
            }
        }
    }

    /// A combination that a field of 768 dimensions takes is one whose parts fit together; all others name the part that does not.
    @Test(arguments: CodecSpec.examples) func validationAgreesWithTheRules(codec: CodecSpec) {
        for metric in NeedletailCore.Metric.allCases {
            for prefix in [nil, 100, 256, 769] {
                for map in Self.transforms {
                    for rescore in Self.rescores {
                        let transform = TransformSpec(prefix: prefix, map: map)
                        let spec = IndexSpec(transform: transform, codec: codec, rescore: rescore)
                        let isLegal = Self.isLegal(spec, metric)
                        let problem = Self.problem(spec, metric)
                        #expect((problem == nil) == isLegal, "\(spec), \(metric): \(problem?.message ?? "accepted")")
                        if let problem { Self.expectRefusal(problem, of: "\(spec)") }
                    }
                }
            }
        }
    }

    @Test func spacesAndArrowsStandForCommas() throws {
        let spec = IndexSpec(transform: TransformSpec(map: .pca(160)), graph: GraphParameters(m: 32), codec: .lvq8, rescore: RescoreSpec(count: 50))
        for text in [
            "pca160,hnsw32,lvq8,rescore50", " PCA160 -> HNSW32 -> LVQ8 -> RESCORE50 ", "pca160→hnsw(m=32)→lvq8→rescore(50)",
            "pca160, hnsw( m = 32 ), lvq8, rescore( 50 , memory )",
        ] {
            #expect(try IndexSpec(text: text) == spec, "\(text)")
        }
        #expect(try IndexSpec(text: "") == IndexSpec())
        #expect(try IndexSpec(text: "none") == IndexSpec())
    }

    @Test(arguments: [
        ("lvq8,pca160", "out of place"), ("lvq8,lvq4", "out of place"), ("rotate,pca4", "out of place"), ("hnsw,,lvq8", "empty"),
        ("lvq9", "no stage"), ("lvq8(1)", "no stage"), ("banana", "no stage"), ("pca", "number"), ("pca-3", "\"-\""), ("rotate5", "rotation"),
        ("leanvec160(x)", "leanvec"), ("hnsw(m=)", "expected"), ("hnsw(q=3)", "expected"), ("hnsw(m=3,m=4)", "expected"), ("hnsw(m=3", "parentheses"),
        ("rescore(50,disk)", "number"), ("centre4", "centre"), ("prefix(4)", "prefix"), ("hnsw(m=3)4", "parentheses"), ("((", "parentheses"),
        ("pca99999999999999999999999", "number"), (String(repeating: "a", count: 1025), "1024"), ("lvq8 lvq4", "no stage"),
    ]) func mistakesAreNamed(text: String, word: String) {
        #expect(performing: { try IndexSpec(text: text) }, throws: { error in
            guard let error = error as? NeedletailError else { return false }
            return error.code == .invalidArgument && error.message.contains(word)
        })
    }

    /// The rules in short, as a second opinion on `validate`.
    private static func isLegal(_ spec: IndexSpec, _ metric: NeedletailCore.Metric) -> Bool {
        let prepared = spec.transform.prefix ?? 768
        let outputs = spec.transform.map.outputDimensions ?? prepared
        if spec.codec == .asGiven { return spec.transform == TransformSpec() && spec.rescore == RescoreSpec() }
        if metric == .hamming || prepared > 768 || outputs > prepared { return false }
        if case .whitening = spec.transform.map, metric == .dot { return false }
        return true
    }

    private static func problem(_ spec: IndexSpec, _ metric: NeedletailCore.Metric) -> NeedletailError? {
        do {
            try spec.validate(field: "v", dimensions: 768, metric: metric, element: metric == .hamming ? .bit : .f32)
            return nil
        } catch {
            return error
        }
    }

    static func expectRefusal(_ error: NeedletailError, of text: String) {
        #expect(error.code == .invalidArgument, "\(text)")
        #expect(error.message.count > 15, "\(text): \(error.message)")
    }
}
