internal import NeedletailCore
internal import Synchronization

extension EmbeddedMetadataStore {
    public func watch(prefix: String, after revision: UInt64) -> MetadataWatch {
        let place = WatchPlace(revision)
        return AsyncThrowingStream {
            guard let seen = place.revision else { return nil }
            let news = try await self.news(prefix: prefix, after: seen)
            if case .changes(_, let revision)? = news { place.revision = revision } else { place.revision = nil }
            return news
        }
    }

    /// Where one watch stands; nil after its end. One task reads a watch, so nothing contends.
    private final class WatchPlace: Sendable {
        private let place: Mutex<UInt64?>
        init(_ revision: UInt64) { place = Mutex(revision) }

        var revision: UInt64? {
            get { place.withLock { $0 } }
            set { place.withLock { $0 = newValue } }
        }
    }

    private enum Look {
        case found(MetadataNews?)
        /// Look again after a change, or when the first lease may have ended.
        case wait(until: ContinuousClock.Instant?)
    }

    private func news(prefix: String, after seen: UInt64) async throws -> MetadataNews? {
        var seen = seen
        while true {
            try Task.checkCancellation()
            // Before looking, so that no change is missed; anew each time, since a stream whose reader was cancelled is over.
            let (number, changed) = listen()
            defer { state.withLock { _ = $0.waiters.removeValue(forKey: number) } }
            try endLeases()
            let look = state.withLock { state -> Look in
                if state.isClosed { return .found(nil) }
                guard let changes = state.history.changes(after: seen) else { return .found(.compacted) }
                seen = max(seen, state.history.revision)
                let wanted = changes.filter { $0.key.hasPrefix(prefix) }
                return wanted.isEmpty ? .wait(until: state.leases.nextEnd) : .found(.changes(wanted, revision: seen))
            }
            switch look {
            case .found(let news): return news
            case .wait(let end): await Self.wait(for: changed, until: end)
            }
        }
    }

    private func listen() -> (UInt64, AsyncStream<Void>) {
        let (changed, waiter) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state in
            state.nextWaiter += 1
            state.waiters[state.nextWaiter] = waiter
            if state.isClosed { waiter.finish() }
            return state.nextWaiter
        }
        return (number, changed)
    }

    private static func wait(for changed: AsyncStream<Void>, until end: ContinuousClock.Instant?) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { _ = await changed.first { _ in true } }
            if let end { group.addTask { try? await Task.sleep(until: end, clock: .continuous) } }
            await group.next()
            group.cancelAll()
        }
    }
}
