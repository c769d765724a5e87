import NeedletailCore
import NeedletailTestSupport
import NeedletailTuning
import Testing

@Suite struct TuningReportTests {
    private func measured(_ memory: Int, _ speed: Double, _ recall: Double, _ spec: IndexSpec = IndexSpec()) -> TuningMeasurement {
        TuningMeasurement(spec: spec, ef: 10, memoryBytes: memory, queriesPerSecond: speed, recall: recall)
    }

    @Test func theFrontHasWhatNothingDominates() {
        let (small, fast, right) = (measured(100, 50, 0.8), measured(500, 900, 0.9), measured(500, 300, 0.99))
        let dominated = [measured(100, 40, 0.8), measured(600, 900, 0.9), measured(501, 299, 0.98), measured(500, 300, 0.98)]
        let report = TuningReport(dominated + [right, small, fast, fast], recall: 0.95)
        #expect(report.front == [small, fast, right])
        #expect(report.suggestion == right && report.reachesRecall)
        #expect(report.measurements.count == 8)
        // One spec: the one that has the recall.
        #expect(report.choices == [right])
        // Any order of what was measured.
        var generator = SeededGenerator.fresh()
        for _ in 0..<20 { #expect(TuningReport((dominated + [right, small, fast]).shuffled(using: &generator), recall: 0.95).front == report.front) }
    }

    @Test func choicesAreOnePerSpec() throws {
        let (able, unable) = (try IndexSpec(text: "lvq8"), try IndexSpec(text: "lvq4"))
        func step(_ spec: IndexSpec, _ ef: Int, _ speed: Double, _ recall: Double) -> TuningMeasurement {
            TuningMeasurement(spec: spec, ef: ef, memoryBytes: spec == able ? 200 : 100, queriesPerSecond: speed, recall: recall)
        }
        let good = [step(able, 10, 900, 0.8), step(able, 20, 600, 0.95), step(able, 40, 400, 0.99)]
        let poor = [step(unable, 10, 500, 0.5), step(unable, 20, 300, 0.7)]
        let report = TuningReport(good + poor, recall: 0.95)
        #expect(report.front == poor + good && report.choices == [poor[1], good[1]] && report.suggestion == good[1])
        #expect(TuningReport(good + poor, recall: 0.999).choices == [poor[1], good[2]])
    }

    @Test func theFrontIsTheOneByDefinition() {
        var generator = SeededGenerator.fresh()
        for _ in 0..<200 {
            let all = (0..<30).map { _ in
                measured(Int.random(in: 1...5, using: &generator), Double(Int.random(in: 1...5, using: &generator)), Double(Int.random(in: 1...5, using: &generator)) / 5)
            }
            let report = TuningReport(all, recall: 0.8)
            for entry in all {
                let isBeaten = all.contains {
                    $0 != entry && $0.memoryBytes <= entry.memoryBytes && $0.queriesPerSecond >= entry.queriesPerSecond && $0.recall >= entry.recall
                }
                #expect(report.front.contains(entry) == !isBeaten)
            }
            #expect(Set(report.front).count == report.front.count)
            let fastest = all.filter { $0.recall >= 0.8 }.map(\.queriesPerSecond).max()
            if let fastest { #expect(report.suggestion?.queriesPerSecond == fastest && report.reachesRecall) }
        }
    }

    @Test func theSuggestionKeepsToTheBudget() throws {
        let (small, medium, large) = (measured(100, 100, 0.9), measured(300, 200, 0.96), measured(900, 1_000, 0.97))
        let all = [small, medium, large]
        #expect(TuningReport(all, recall: 0.95).suggestion == large)
        #expect(TuningReport(all, recall: 0.95, memoryBytes: 899).suggestion == medium)
        #expect(TuningReport(all, recall: 0.95, memoryBytes: 899).front == [small, medium])
        // Of equally fast ones the smaller.
        #expect(TuningReport([measured(300, 200, 0.96), measured(200, 200, 0.951)], recall: 0.95).suggestion?.memoryBytes == 200)
        // Out of reach: the best there is, and that is said.
        let poor = TuningReport(all, recall: 0.95, memoryBytes: 100)
        #expect(poor.suggestion == small && !poor.reachesRecall)
        let nothing = TuningReport(all, recall: 0.95, memoryBytes: 99)
        #expect(nothing.suggestion == nil && nothing.front.isEmpty && !nothing.reachesRecall)
    }
}

@Suite struct TunerTests {
    @Test(arguments: [1, 2, 3, 16, 63, 64, 384, 1_536, 16_384]) func candidatesAreLegalAndFew(dimensions: Int) throws {
        for metric in [Metric.l2, .cosine, .dot] {
            let specs = TuningCandidates.specs(dimensions: dimensions, metric: metric, element: .f32)
            #expect((7...18).contains(specs.count) && specs.first == IndexSpec() && Set(specs).count == specs.count)
            for spec in specs { try spec.validate(field: "v", dimensions: dimensions, metric: metric, element: .f32) }
        }
        #expect(TuningCandidates.specs(dimensions: dimensions, metric: .hamming, element: .bit).allSatisfy { $0.codec == .asGiven })
    }

    private func vectors(_ count: Int, _ generator: inout SeededGenerator) -> [DenseVector] {
        (0..<count).map { _ in DenseVector(generator.gaussians(32).enumerated().map { $1 / Float(1 + $0 / 4) }) }
    }

    private func specs(_ texts: String...) throws -> [IndexSpec] { try texts.map { try IndexSpec(text: $0) } }

    @Test func measuresRecallAndMemory() async throws {
        var generator = SeededGenerator.fresh()
        var plan = TuningPlan(metric: .l2, element: .f32, specs: try specs("none", "lvq8", "rabitq1"))
        plan.threads = 2
        plan.seconds = .infinity
        var tried: [IndexSpec] = []
        let report = try await Tuner(plan, base: vectors(2_000, &generator), queries: vectors(50, &generator), dimensions: 32)
            .run { spec, _ in tried.append(spec) }
        #expect(tried == plan.specs && report.leftOut.isEmpty && report.reachesRecall)
        for spec in plan.specs {
            let steps = report.measurements.filter { $0.spec == spec }
            #expect(steps.map(\.recall).max() ?? 0 >= (spec.codec == .rabitq(bits: 1) ? 0.8 : 0.98) && zip(steps, steps.dropFirst()).allSatisfy { $0.ef < $1.ef })
            #expect(steps.allSatisfy { $0.queriesPerSecond > 0 && $0.fileBytes == 0 })
        }
        // Vectors 128 bytes, links 128, node 8, upper levels 4; the codes of lvq8 take 48 more, of rabitq1 32.
        #expect(Set(report.measurements.map(\.memoryBytes)) == [268, 316, 300])
    }

    @Test func whatDoesNotFitIsLeftOut() async throws {
        var generator = SeededGenerator.fresh()
        var plan = TuningPlan(metric: .cosine, element: .f32, specs: try specs("none", "pq8", "lvq8", "rabitq1"))
        plan.memoryBytes = 180
        let report = try await Tuner(plan, base: vectors(200, &generator), queries: vectors(5, &generator), dimensions: 32).run()
        // Too large, too few vectors for a codebook, too large even without its vectors.
        #expect(try report.leftOut == specs("none", "pq8", "lvq8"))
        #expect(try Set(report.measurements.map(\.spec)) == Set(specs("rabitq1,rescore(file)")))
        #expect(report.measurements.allSatisfy { $0.fileBytes == 192 })
        #expect(report.measurements.allSatisfy { $0.memoryBytes <= 180 && $0.spec.rescore.source == .file } && report.suggestion != nil)
    }

    @Test func withoutTimeOneSpecIsTried() async throws {
        var generator = SeededGenerator.fresh()
        var plan = TuningPlan(metric: .dot, element: .f16, specs: try specs("lvq8", "none"))
        plan.seconds = 0
        let report = try await Tuner(plan, base: vectors(300, &generator), queries: vectors(5, &generator), dimensions: 32).run()
        #expect(try report.leftOut == specs("none"))
        #expect(report.suggestion != nil)
    }

    @Test func whatCannotBeTriedIsRefused() async throws {
        var generator = SeededGenerator.fresh()
        let some = vectors(20, &generator)
        #expect(throws: NeedletailError.self) { try Tuner(TuningPlan(metric: .l2, element: .f32, specs: []), base: [], queries: some, dimensions: 32) }
        #expect(throws: NeedletailError.self) { try Tuner(TuningPlan(metric: .hamming, element: .bit, specs: []), base: some, queries: some, dimensions: 32) }
        #expect(throws: NeedletailError.self) {
            try Tuner(TuningPlan(metric: .l2, element: .f32, specs: specs("pq40")), base: some, queries: some, dimensions: 32)
        }
        let wrong = try Tuner(TuningPlan(metric: .l2, element: .f32, specs: specs("none")), base: some, queries: [DenseVector([1])], dimensions: 32)
        await #expect(throws: NeedletailError.self) { try await wrong.run() }
    }
}
