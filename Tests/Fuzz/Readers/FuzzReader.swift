/// What reads bytes that nobody vouches for. Each of them takes any bytes and neither traps nor hangs.
public enum FuzzReader: String, CaseIterable, Sendable {
    /// What a client sends to a server's port.
    case frame
    /// One protobuf message.
    case message
    /// The segments of a replica's log.
    case log
    /// The manifest and a slab file of a checkpoint.
    case checkpoint

    /// Throws nothing: an error of the reader is a right answer to garbage.
    public func read(_ bytes: [UInt8]) {
        switch self {
        case .frame: FrameReader.read(bytes)
        case .message: MessageReader.read(bytes)
        case .log: LogReader.read(bytes)
        case .checkpoint: CheckpointReader.read(bytes)
        }
    }

    /// Valid input to begin with.
    public func seeds() -> [[UInt8]] {
        switch self {
        case .frame: FrameReader.seeds()
        case .message: MessageReader.seeds()
        case .log: LogReader.seeds()
        case .checkpoint: CheckpointReader.seeds()
        }
    }
}
