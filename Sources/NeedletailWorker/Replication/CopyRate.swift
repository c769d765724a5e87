internal import NeedletailCluster
internal import NeedletailCore
internal import Synchronization

/// What copies of replicas and backups, from here and to here, may take of the network and the disks, all together.
final class CopyRate: Sendable {
    /// The event loop that sends a piece, or takes it, has searches to answer as well.
    private static let longest = 256 << 10

    private let rate: Mutex<ByteRate>
    private let began = ContinuousClock.now
    /// Pieces of a copy: no more than a moment's worth, so that a slow copy is not taken for a forgotten one.
    var pieceBytes: Int {
        let bytesPerSecond = rate.withLock { $0.bytesPerSecond }
        return bytesPerSecond == 0 ? Self.longest : Int(min(UInt64(Self.longest), max(16 << 10, bytesPerSecond / 4)))
    }

    /// - Parameter bytesPerSecond: 0: no limit.
    init(bytesPerSecond: UInt64) { rate = Mutex(ByteRate(bytesPerSecond: bytesPerSecond)) }

    /// From now on.
    func change(toBytesPerSecond bytesPerSecond: UInt64) { rate.withLock { $0 = ByteRate(bytesPerSecond: bytesPerSecond) } }

    /// Waits until these bytes may go.
    func take(_ bytes: Int) async throws {
        let now = began.duration(to: .now)
        let wait = rate.withLock { $0.take(bytes, now: now) }
        if wait > .zero { try await Task.sleep(for: wait) }
    }
}
