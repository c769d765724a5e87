public import NeedletailCore

/// Shards being replaced by others of the same range, as the metadata keep it under `operations/ID` from its beginning on: whoever leads goes on with
/// it. A split has one that is replaced and two that are made, a merge two and one.
public protocol Resharding: Sendable, Hashable {
    var id: UInt64 { get }
    var collection: String { get }
    var replaced: [ShardID] { get }
    var made: [ShardID] { get }
    /// Nodes with files of the shards that are replaced, and maybe of those that are made.
    var nodes: [NodeID] { get }
    var step: ReshardingStep { get }
    var isCancelled: Bool { get set }
    var reason: String { get }
    /// Why it failed, was undone, or began to seal once more.
    var problem: String { get set }
    /// By the leader's clock, in milliseconds since 1970.
    var createdMilliseconds: Int64 { get }
    var changedMilliseconds: Int64 { get set }
    var encoded: [UInt8] { get }
}

extension Resharding {
    public var key: String { Incarnation(id).description }

    /// Shards whose files the nodes may remove.
    public var dropped: [ShardID] {
        switch step {
        case .dropping: replaced
        case .undropping: made
        default: []
        }
    }

    /// Shards that belong to no collection yet, and whose files stay.
    public var kept: [ShardID] { step.holdsReplaced ? made : [] }
}

public enum ReshardingStep: UInt8, Sendable, CaseIterable {
    /// The new shards are made beside every replica in sync, and follow it.
    case preparing = 1
    /// The old ones take no writes; the new ones take in the last ones.
    case sealing = 2
    /// The new ones are in the old ones' place; the files of these go.
    case dropping = 3
    case done = 4
    /// The seal is given up: the old ones begin another epoch.
    case unsealing = 5
    /// Cancelled: the new ones' files go.
    case undropping = 6
    case cancelled = 7
    case failed = 8

    public var hasEnded: Bool { self == .done || self == .cancelled || self == .failed }
    /// Whether nothing else may be done to the shards that are to be replaced.
    public var holdsReplaced: Bool { self == .preparing || self == .sealing || self == .unsealing }

    /// As people read it.
    public var name: String { "\(self)" }
}
