/// Bounds on what one request or one object may ask for; each is checked where the request enters.
public enum Limits {
    public static let nameBytes = 128
    public static let dimensions = 16_384
    public static let fieldsPerCollection = 16
    public static let shardsPerCollection = 256
    public static let replicasPerShard = 7
    public static let payloadBytes = 1 << 20
    public static let pointsPerWrite = 10_000
    public static let queriesPerBatch = 1_000
    public static let searchLimit = 10_000
    public static let ef = 65_536
    /// Answers that a recall can be asked for: each is calibrated with breadths up to 64 times as many.
    public static let recallTargetLimit = 1_000
    public static let idsPerRequest = 10_000
    public static let scrollPage = 10_000
    /// A gRPC message, in bytes; a little over 64 MiB so that a 64 MiB content fits with its framing.
    public static let messageBytes = (64 << 20) + (64 << 10)
}
