/// The cause of the error of a call that never left: there was no connection to send it on. It may be made again, elsewhere too, whatever
/// it does.
public struct CallNotSent: Error, CustomStringConvertible {
    /// Why there was no connection.
    public let cause: (any Error)?

    public var description: String { cause.map { "\($0)" } ?? "there was no connection" }
}
