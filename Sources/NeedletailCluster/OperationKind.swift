/// What an entry under `operations/` is: its first byte says so.
public enum OperationKind: UInt8, Sendable {
    case move = 1
    case backup = 2
    case split = 3
    case merge = 4

    /// One that this build does not know counts as a move, whose reader refuses it by name.
    public init(_ entry: [UInt8]) { self = entry.first.flatMap(Self.init) ?? .move }
}
