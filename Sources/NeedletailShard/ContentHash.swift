internal import NeedletailCore
internal import Synchronization

/// A sum over a replica's points, by parts of the shard's range: two replicas that have applied the same writes have the same sums, and a
/// difference shows where to look.
///
/// Each point counts with its id, the sequence of the write that made it, and checksums of its vectors and payload; deletes take away what
/// there was. The sums are kept up to date with every write, so that comparing costs nothing but a message (after the incremental hashes of
/// Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing", 1997, without their strength against an adversary).
final class ContentHash: Sendable {
    static let parts = 256

    private struct State {
        var sums = [UInt64](repeating: 0, count: ContentHash.parts)
        /// As of the last marks, by their sequences.
        var marks: [UInt64: [UInt64]] = [:]
    }

    private static let marksKept = 8

    private let range: HashRange
    private let state = Mutex(State())

    init(range: HashRange) { self.range = range }

    func add(_ id: PointID, _ point: UInt64) { state.withLock { $0.sums[part(of: id)] &+= point } }
    func remove(_ id: PointID, _ point: UInt64) { state.withLock { $0.sums[part(of: id)] &-= point } }

    /// Remembers the sums as they are after the write of this sequence.
    func mark(_ sequence: UInt64) {
        state.withLock { state in
            state.marks[sequence] = state.sums
            while state.marks.count > Self.marksKept, let oldest = state.marks.keys.min() { state.marks[oldest] = nil }
        }
    }

    func sums(at mark: UInt64) -> [UInt64]? { state.withLock { $0.marks[mark] } }

    /// floor((hash − first) × parts ÷ width)
    private func part(of id: PointID) -> Int {
        let product = (id.placementHash &- range.first).multipliedFullWidth(by: UInt64(Self.parts))
        let width = range.last &- range.first &+ 1
        // The whole space has a width of 2^64.
        let part = width == 0 ? product.high : width.dividingFullWidth((product.high, product.low)).quotient
        return Int(min(part, UInt64(Self.parts - 1)))
    }

    /// What one version of a point counts.
    static func value(_ id: PointID, sequence: UInt64, vectors: UInt32, payload: UInt16) -> UInt64 {
        let name: (UInt64, UInt64) =
            switch id {
            case .number(let value): (0, value)
            case .uuid(let high, let low): (high, low)
            }
        return mix(mix(mix(name.0 ^ 0x9e37_79b9_7f4a_7c15) ^ name.1) ^ mix(sequence &* 0xd6e8_feb8_6659_fd93 ^ UInt64(vectors) << 16 ^ UInt64(payload)))
    }

    /// The finaliser of SplitMix64.
    private static func mix(_ value: UInt64) -> UInt64 {
        var mixed = value &+ 0x9e37_79b9_7f4a_7c15
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
