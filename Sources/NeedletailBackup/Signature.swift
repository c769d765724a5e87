internal import Crypto
internal import FoundationEssentials
internal import Glibc

/// A moment as signatures want it, in UTC.
struct SigningTime: Sendable {
    /// 20130524T000000Z
    let stamp: String
    var day: String { String(stamp.prefix(8)) }

    /// - Parameter seconds: since 1970.
    init(seconds: Int) {
        var (time, parts) = (time_t(seconds), tm())
        gmtime_r(&time, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        stamp = "\(parts.tm_year + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))T\(two(parts.tm_hour))\(two(parts.tm_min))\(two(parts.tm_sec))Z"
    }

    static var now: SigningTime { SigningTime(seconds: time(nil)) }
}

/// AWS Signature Version 4 for one request ("Signature Calculations for the Authorization Header", Amazon S3 API Reference).
struct Signature {
    var method: String
    /// From "/" on, percent-encoded.
    var path: String
    /// Names and values, as they are.
    var query: [(name: String, value: String)] = []
    /// Names in lower case; all are signed.
    var headers: [(name: String, value: String)]
    /// Hexadecimal SHA-256 of the body.
    var bodyHash: String

    /// `name=value&…`, in the order in which it is signed.
    var canonicalQuery: String {
        query.map { (Self.encoded($0.name), Self.encoded($0.value)) }.sorted { $0 < $1 }.map { "\($0)=\($1)" }.joined(separator: "&")
    }

    /// The value of the header `Authorization`.
    func authorization(accessKey: String, secret: String, region: String, time: SigningTime) -> String {
        let sorted = headers.sorted { $0.name < $1.name }
        let names = sorted.map(\.name).joined(separator: ";")
        let lines = sorted.map { "\($0.name):\($0.value)\n" }.joined()
        let canonical = [method, path, canonicalQuery, lines, names, bodyHash].joined(separator: "\n")
        let scope = "\(time.day)/\(region)/s3/aws4_request"
        let text = ["AWS4-HMAC-SHA256", time.stamp, scope, sha256(Array(canonical.utf8)).hexadecimal].joined(separator: "\n")
        var key = Array("AWS4\(secret)".utf8)
        for part in [time.day, region, "s3", "aws4_request"] { key = Self.hmac(key, part) }
        return "AWS4-HMAC-SHA256 Credential=\(accessKey)/\(scope),SignedHeaders=\(names),Signature=\(hexadecimal(Self.hmac(key, text)))"
    }

    private static func hmac(_ key: [UInt8], _ text: String) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: SymmetricKey(data: key)))
    }

    /// All but letters, digits, and "-._~" as %XX; with `keepingSlashes` for paths.
    static func encoded(_ text: String, keepingSlashes: Bool = false) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                result.unicodeScalars.append(UnicodeScalar(byte))
            case UInt8(ascii: "/") where keepingSlashes: result += "/"
            default:
                let digits = Array("0123456789ABCDEF".unicodeScalars)
                result += "%"
                result.unicodeScalars.append(digits[Int(byte >> 4)])
                result.unicodeScalars.append(digits[Int(byte & 15)])
            }
        }
        return result
    }
}

func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count * 2)
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

func sha256(_ bytes: [UInt8]) -> Checksum256 {
    Checksum256(bytes: Array(SHA256.hash(data: bytes)))
}
