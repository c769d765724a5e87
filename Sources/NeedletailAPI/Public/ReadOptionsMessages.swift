import CNeedletailMessages
import CProtobufC
import NeedletailCore

extension ReadOptions {
    init(_ message: UnsafeMutablePointer<Needletail__V1__ReadOptions>?) throws(NeedletailError) {
        self.init()
        guard let options = message?.pointee else { return }
        guard let raw = UInt8(exactly: options.consistency.rawValue), let known = ReadConsistency(rawValue: raw) else {
            throw NeedletailError(
                .invalidArgument, "read consistency \(options.consistency.rawValue) is unknown to this version; use ANY_IN_SYNC or PRIMARY")
        }
        consistency = known
        if options.session.len > 0 { session = try Session(encoded: byteArray(options.session)) }
    }
}

extension MessageArena {
    /// nil when there is nothing to say.
    func readOptions(_ options: ReadOptions) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__ReadOptions>? {
        if options == ReadOptions() { return nil }
        let message = try make(Needletail__V1__ReadOptions.self)
        message.pointee.consistency = Needletail__V1__ReadConsistency(rawValue: UInt32(options.consistency.rawValue))
        if let session = options.session { message.pointee.session = try bytes(session.encoded) }
        return message
    }
}
