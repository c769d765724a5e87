import Foundation
import NeedletailCore
import Testing

@testable import NeedletailLoad

@Suite struct ScenarioTests {
    private static let smallest = """
        name: Smallest
        target: {endpoints: 127.0.0.1:7460}
        phases:
          - name: one
        """

    private func read(_ text: String, _ overrides: [String] = []) throws -> Scenario { try Scenario(text: text, file: "/a/b.yaml", overrides: overrides) }

    private func message(_ text: String, _ overrides: [String] = []) -> String {
        do {
            _ = try read(text, overrides)
            return "no error"
        } catch {
            return (error as? NeedletailError)?.message ?? "\(error)"
        }
    }

    @Test func whatIsAbsentIsAsTheTableSays() throws {
        let scenario = try read(Self.smallest)
        #expect(scenario.target == .endpoints(["127.0.0.1:7460"]))
        #expect(scenario.client == Scenario.Client(connections: 4, threads: 1, outstanding: 1000))
        #expect(scenario.data.points == 20_000 && scenario.data.truth && scenario.data.base == nil && scenario.collection.create)
        let phase = scenario.phases[0]
        #expect(phase.arrivals == .poisson && phase.rate == 100 && phase.seconds == 10 && phase.mix == [Scenario.Share(operation: .search, weight: 1)])
        #expect(phase.search.limit == 10 && phase.search.deadline == 1 && phase.write.points == 10 && phase.bulk == nil && phase.find == nil)
    }

    @Test func everythingCanBeSaid() throws {
        let scenario = try read(
            """
            name: All
            about: of it
            seed: 9
            target:
              local: {workers: 3, worker_flags: [--search-threads, "1"], coordinator_flags: --moves=1}
            client: {connections: 8, threads: 2, outstanding: 50}
            data: {points: 500, spare: 100, dimensions: 8, queries: 20, metric: dot, truth: false}
            collection: {name: c, shards: 4, replicas: 2, index: lvq8, tenants: 3, skew: 1.5, replace: true, settle: 0.5}
            phases:
              - name: load
                bulk: {streams: 2, points: 50}
              - name: mixed
                arrivals: constant
                rate: 50.5
                mix: {search: 8, batch: 1, upsert: 0.5, delete: 0.5}
                search: {limit: 5, ef: 30, queries: 3, partial: true, read: primary, deadline: 0.2}
                write: {points: 3, deadline: 2}
                faults:
                  - {at: 3, start: worker 1}
                  - {at: 1, kill: worker 1, name: the loss}
                  - {at: 4, pause: worker 2, seconds: 0.5}
                  - {at: 4.5, slow: worker 2, seconds: 2, share: 0.2}
                  - {at: 5, restart: coordinator}
                  - {at: 6, join: worker}
                  - {at: 7, drain: worker 4}
                  - {at: 8, undrain: worker 4}
                  - {at: 9, move: shard 1, to: worker 2}
                  - {at: 9, run: "true"}
              - name: ramp
                find: {percentile: 99.9, milliseconds: 5, from: 10, to: 1000, recall: 0.9}
              - name: closed
                arrivals: closed
                workers: 3
            """)
        #expect(scenario.target == .local(workers: 3, workerFlags: ["--search-threads", "1"], coordinatorFlags: ["--moves=1"]))
        #expect(scenario.collection.names == ["c-1", "c-2", "c-3"] && scenario.hasBulkPhase && scenario.changesRows)
        #expect(scenario.phases[1].faults.map(\.at) == [1, 3, 4, 4.5, 5, 6, 7, 8, 9, 9])
        #expect(scenario.phases[1].faults[0] == Fault(at: 1, name: "the loss", deed: .kill(.worker(1))))
        #expect(scenario.phases[1].faults[8].deed == .move(shard: 1, to: .worker(2)))
        #expect(scenario.phases[2].find?.percentile == 99.9 && scenario.phases[3].workers == 3)
        // As load processes elsewhere get it.
        #expect(try JSONDecoder().decode(Scenario.self, from: JSONEncoder().encode(scenario)) == scenario)
    }

    /// Text, and what the message must say: the place and what would be right.
    private static let mistakes: [(String, [String])] = [
        ("", ["/a/b.yaml", "name:"]),
        ("- a\n- b", ["/a/b.yaml", "mapping"]),
        ("name: [", ["/a/b.yaml:", "no YAML"]),
        ("name: a\nname: b\ntarget: {endpoints: a:1}", ["no YAML", "name", "twice"]),
        ("name: a\ntarget: {endpoints: a:1}", ["phases", "missing"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: []", ["phases", "at least one"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: {name: a}", ["b.yaml:3", "phases", "list"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{seconds: 3}]", ["phases[0].name", "missing"]),
        ("name: a\nphases: [{name: a}]", ["target", "missing"]),
        ("name: a\ntarget: {}\nphases: [{name: a}]", ["target", "either"]),
        ("name: a\ntarget: {endpoints: a:1, local: {}}\nphases: [{name: a}]", ["target", "either"]),
        ("name: a\ntarget: {endpoints: 'a:b:c'}\nphases: [{name: a}]", ["target.endpoints", "host:port"]),
        ("name: a\ntarget: {endpoints: a:1}\nphase: [{name: a}]", ["b.yaml:3:1", "phase is no key", "did you mean phases?"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, qps: 5}]", ["phases[0].qps is no key", "there are", "rate"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, rate: fast}]", ["phases[0].rate", "number", "\"fast\""]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, rate: 0}]", ["phases[0].rate", "0.1 to"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, rate: .nan}]", ["phases[0].rate", "number"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, search: {limit: 1.5}}]", ["phases[0].search.limit", "whole number"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, arrivals: steady}]", ["phases[0].arrivals", "poisson, constant, closed"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, arrivals: closed, rate: 5}]", ["phases[0]", "workers"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, workers: 5}]", ["phases[0].workers", "closed"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, mix: {search: 0}}]", ["phases[0].mix", "above 0"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, bulk: {}, rate: 5}]", ["phases[0].bulk", "alone"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, find: {from: 100, to: 10}}]", ["phases[0].find.from", "not above"]),
        ("name: a\ntarget: {endpoints: a:1}\ncollection: {index: lvq9}\nphases: [{name: a}]", ["collection.index"]),
        ("name: a\ntarget: {endpoints: a:1}\ncollection: {name: '-x'}\nphases: [{name: a}]", ["collection.name"]),
        ("name: a\ntarget: {endpoints: a:1}\ndata: {base: missing.fbin, query: q.fbin}\nphases: [{name: a}]", ["data.base", "missing.fbin", "cannot be read"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, faults: [{kill: worker 1}]}]", ["phases[0].faults[0].at", "missing"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, faults: [{at: 1}]}]", ["phases[0].faults[0]", "exactly one"]),
        ("name: a\ntarget: {local: {}}\nphases: [{name: a, faults: [{at: 1, kill: worker 1, pause: worker 1}]}]", ["exactly one", "kill and pause"]),
        ("name: a\ntarget: {local: {}}\nphases: [{name: a, faults: [{at: 1, kill: worker}]}]", ["faults[0].kill", "worker 1"]),
        ("name: a\ntarget: {local: {}}\nphases: [{name: a, faults: [{at: 1, kill: worker 3}]}]", ["names worker 3", "there are 2"]),
        ("name: a\ntarget: {local: {}}\nphases: [{name: a, faults: [{at: 1, drain: coordinator}]}]", ["workers, not"]),
        ("name: a\ntarget: {local: {}}\nphases: [{name: a, faults: [{at: 1, move: shard 0}]}]", ["lacks `to`"]),
        ("name: a\ntarget: {local: {}}\nphases: [{name: a, faults: [{at: 1, move: 0, to: worker 1}]}]", ["shard 0"]),
        ("name: a\ntarget: {endpoints: a:1}\nphases: [{name: a, faults: [{at: 1, kill: worker 1}]}]", ["needs a local cluster"]),
        ("name: a\ntarget: {local: {}}\nphases: [{name: a, seconds: 5, faults: [{at: 5, kill: worker 1}]}]", ["faults[0].at", "before the end"]),
    ]

    @Test(arguments: mistakes) func aMistakeIsNamedWithItsPlace(text: String, expected: [String]) {
        let said = message(text)
        for part in expected { #expect(said.contains(part), "\(said)") }
    }

    @Test func overridesReplaceAndAdd() throws {
        let scenario = try read(
            Self.smallest, ["phases[0].rate=7", "phases.0.search.ef=40", "collection.shards=3", "target.endpoints=[a:1, b:2]", "client={threads: 2}"])
        #expect(scenario.phases[0].rate == 7 && scenario.phases[0].search.ef == 40 && scenario.collection.shards == 3 && scenario.client.threads == 2)
        #expect(scenario.target == .endpoints(["a:1", "b:2"]))
        #expect(message(Self.smallest, ["rate"]).contains("PATH=VALUE"))
        #expect(message(Self.smallest, ["phases[3].rate=1"]).contains("nothing at phases[3].rate"))
        #expect(message(Self.smallest, ["name.first=1"]).contains("nothing at"))
        #expect(message(Self.smallest, ["phases[0].rat=1"]).contains("did you mean rate?"))
    }

    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Every scenario that ships can be read.
    @Test func theScenariosOfTheProjectAreRight() throws {
        let folder = Self.root.appendingPathComponent("Deploy/load")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".yaml") }
        #expect(files.count >= 9)
        for file in files { #expect(throws: Never.self) { try Scenario.read(file: folder.appendingPathComponent(file).path) } }
    }

    /// The manual's table of keys is the code's; `needletail-load keys` prints it.
    @Test func theManualHasAllKeys() throws {
        let manual = try String(contentsOf: Self.root.appendingPathComponent("Docs/load.md"), encoding: .utf8)
        #expect(manual.contains(ScenarioKey.table), "put the output of `needletail-load keys` into Docs/load.md")
    }
}
