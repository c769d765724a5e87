public import NIOCore

/// One timer for many deadlines: it is armed for the earliest it was told of, and asks for the next when it fires.
///
/// Most deadlines are never reached, so per deadline this costs one comparison; the scan of what is left is paid when the timer fires.
public final class DeadlineTimer {
    private let eventLoop: any EventLoop
    private var armed: NIODeadline?
    private var scheduled: Scheduled<Void>?
    /// Expires what is due at the given moment and returns the next deadline, if any.
    private let expire: (NIODeadline) -> NIODeadline?

    public init(on eventLoop: any EventLoop, expire: @escaping (NIODeadline) -> NIODeadline?) {
        self.eventLoop = eventLoop
        self.expire = expire
    }

    public func note(_ deadline: NIODeadline) {
        if let armed, armed <= deadline { return }
        scheduled?.cancel()
        armed = deadline
        scheduled = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] in self?.fire() }
    }

    public func cancel() {
        scheduled?.cancel()
        scheduled = nil
        armed = nil
    }

    private func fire() {
        armed = nil
        scheduled = nil
        if let next = expire(.now()) { note(next) }
    }
}
