/// `grpc-timeout`: at most eight digits and a unit.
enum GRPCTimeout {
    /// Nil when the value is malformed.
    static func parse(_ value: RawSpan) -> Duration? {
        let count = value.byteCount
        guard count >= 2, count <= 9 else { return nil }
        var number: Int64 = 0
        for index in 0..<count - 1 {
            let byte = value.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            number = number * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        switch value.unsafeLoad(fromByteOffset: count - 1, as: UInt8.self) {
        case UInt8(ascii: "H"): return .seconds(number * 3600)
        case UInt8(ascii: "M"): return .seconds(number * 60)
        case UInt8(ascii: "S"): return .seconds(number)
        case UInt8(ascii: "m"): return .milliseconds(number)
        case UInt8(ascii: "u"): return .microseconds(number)
        case UInt8(ascii: "n"): return .nanoseconds(number)
        default: return nil
        }
    }

    /// The finest unit that fits eight digits, rounded up so that the peer never gives up before we do.
    static func text(nanoseconds: Int64) -> String {
        let nanoseconds = max(1, nanoseconds)
        for (unit, size) in [("n", Int64(1)), ("u", 1_000), ("m", 1_000_000), ("S", 1_000_000_000), ("M", 60_000_000_000)] {
            let number = nanoseconds / size + (nanoseconds % size == 0 ? 0 : 1)
            if number < 100_000_000 { return "\(number)\(unit)" }
        }
        return "99999999H"
    }
}
