import Foundation
import Glibc
import NeedletailCore
import NeedletailStorage
import Synchronization
import Testing

/// A directory that goes away with the value.
final class ScratchDirectory: Sendable {
    let path: String

    init() {
        path = NSTemporaryDirectory() + "/needletail-storage-" + UUID().uuidString
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }

    func copy(to other: ScratchDirectory) throws {
        for name in try other.names() { try FileManager.default.removeItem(atPath: other.path + "/" + name) }
        for name in try names() { try FileManager.default.copyItem(atPath: path + "/" + name, toPath: other.path + "/" + name) }
    }
}

func readFile(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }
func writeFile(_ path: String, _ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }

/// SplitMix64: the same numbers for the same seed, everywhere.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    mutating func bytes(_ range: Range<Int>) -> [UInt8] {
        (0..<Int.random(in: range, using: &self)).map { _ in UInt8.random(in: .min ... .max, using: &self) }
    }
}

/// The seed of a random test: fresh each run, or that of `NEEDLETAIL_SEED` to replay a failure. It is printed.
func testSeed(_ name: String = #function) -> UInt64 {
    let seed = ProcessInfo.processInfo.environment["NEEDLETAIL_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max)
    print("\(name): NEEDLETAIL_SEED=\(seed)")
    return seed
}

/// Faults to come, per kind of call: each is used once, in order, after `skip` calls went through.
final class FaultPlan: Sendable {
    private struct State {
        var faults: [(kind: DiskOperation.Kind, skip: Int, fault: DiskFault)] = []
        var freeBytes: UInt64?
    }
    private let state = Mutex(State())

    func add(_ kind: DiskOperation.Kind, skip: Int = 0, _ fault: DiskFault) {
        state.withLock { $0.faults.append((kind, skip, fault)) }
    }
    func setFree(_ bytes: UInt64?) { state.withLock { $0.freeBytes = bytes } }
    func clear() { state.withLock { $0 = State() } }

    func disk() -> Disk {
        Disk { operation in
            self.state.withLock { state in
                if operation.kind == .freeSpace { return state.freeBytes.map { .freeBytes($0) } }
                guard let index = state.faults.firstIndex(where: { $0.kind == operation.kind }) else { return nil }
                if state.faults[index].skip > 0 {
                    state.faults[index].skip -= 1
                    return nil
                }
                return state.faults.remove(at: index).fault
            }
        }
    }
}

/// The code of the error `body` throws; nil when it throws none.
func code(_ body: () throws -> Void) -> NeedletailError.Code? {
    do {
        try body()
        return nil
    } catch {
        return (error as? NeedletailError)?.code
    }
}
