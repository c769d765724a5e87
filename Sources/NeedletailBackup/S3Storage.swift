internal import AsyncHTTPClient
internal import NIOCore
internal import NIOHTTP1
public import NeedletailCore

/// How to get at an S3 service: from the environment of the process, so that it is never in requests, the metadata or logs.
public struct S3Access: Sendable {
    /// scheme://host:port
    var endpoint: String
    var region: String
    var accessKey: String
    var secret: String
    var sessionToken: String?

    /// - Throws: `failedPrecondition` naming the variable that is missing.
    public init(environment: [String: String]) throws(NeedletailError) {
        func value(_ name: String) throws(NeedletailError) -> String {
            guard let value = environment[name], !value.isEmpty else {
                throw NeedletailError(
                    .failedPrecondition,
                    "\(name) is not in the environment of this process: give all coordinators and shard workers AWS_ACCESS_KEY_ID and "
                        + "AWS_SECRET_ACCESS_KEY, with AWS_REGION and AWS_ENDPOINT_URL where they are not Amazon's defaults")
            }
            return value
        }
        accessKey = try value("AWS_ACCESS_KEY_ID")
        secret = try value("AWS_SECRET_ACCESS_KEY")
        sessionToken = environment["AWS_SESSION_TOKEN"].flatMap { $0.isEmpty ? nil : $0 }
        region = environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"] ?? "us-east-1"
        endpoint = environment["AWS_ENDPOINT_URL_S3"] ?? environment["AWS_ENDPOINT_URL"] ?? "https://s3.\(region).amazonaws.com"
        while endpoint.hasSuffix("/") { endpoint.removeLast() }
        guard endpoint.hasPrefix("http://") || endpoint.hasPrefix("https://") else {
            throw NeedletailError(.failedPrecondition, "AWS_ENDPOINT_URL must begin with http:// or https://")
        }
    }

    var host: String { String(endpoint.drop { $0 != "/" }.drop { $0 == "/" }.prefix { $0 != "/" }) }
}

/// Backups in a bucket of an S3 service. Buckets are named in the path, which every such service understands.
public struct S3Storage: BackupStorage {
    private let bucket: String
    private let prefix: String
    private let access: S3Access
    private let partBytes: Int

    private static let attempts = 5
    private static let firstPause = Duration.milliseconds(100)
    private static let timeout = TimeAmount.seconds(60)
    /// One for the process. Whether it is tried again is decided here.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .seconds(5)
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.redirectConfiguration = .disallow
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()
    /// Of what the service says; parts of objects are far smaller.
    private static let answerBytes = 1 << 30

    public init(bucket: String, prefix: String, _ access: S3Access) { self.init(bucket: bucket, prefix: prefix, access, partBytes: 8 << 20) }

    /// - Parameter partBytes: larger objects are sent in parts of this size, 5 MiB at least.
    init(bucket: String, prefix: String, _ access: S3Access, partBytes: Int) {
        self.bucket = bucket
        self.prefix = prefix.isEmpty ? "" : prefix + "/"
        self.access = access
        self.partBytes = partBytes
    }

    public var address: String { prefix.isEmpty ? "s3://\(bucket)" : "s3://\(bucket)/\(prefix.dropLast())" }

    public func put(_ key: String, _ bytes: [UInt8]) async throws {
        if bytes.count > partBytes { return try await putInParts(key, bytes) }
        try await ask(.PUT, key, body: bytes).expectSuccess(address)
    }

    private func putInParts(_ key: String, _ bytes: [UInt8]) async throws {
        let begun = try await ask(.POST, key, query: [("uploads", "")]).expectSuccess(address)
        guard let upload = XMLText(begun.body).first("UploadId") else {
            throw NeedletailError(.unknown, "the service began no upload in parts; check that it is an S3 service", location: address)
        }
        do {
            var parts = ""
            for (index, start) in stride(from: 0, to: bytes.count, by: partBytes).enumerated() {
                let part = Array(bytes[start..<min(bytes.count, start + partBytes)])
                let answer = try await ask(.PUT, key, query: [("partNumber", "\(index + 1)"), ("uploadId", upload)], body: part).expectSuccess(address)
                guard let tag = answer.headers.first(name: "ETag") else {
                    throw NeedletailError(.unknown, "the service gave a part no tag; check that it is an S3 service", location: address)
                }
                parts += "<Part><PartNumber>\(index + 1)</PartNumber><ETag>\(tag)</ETag></Part>"
            }
            let body = Array("<CompleteMultipartUpload>\(parts)</CompleteMultipartUpload>".utf8)
            let answer = try await ask(.POST, key, query: [("uploadId", upload)], body: body).expectSuccess(address)
            // Amazon answers 200 before it knows, and an error in the body.
            if XMLText(answer.body).first("Code") != nil { throw answer.failure(address) }
        } catch {
            _ = try? await ask(.DELETE, key, query: [("uploadId", upload)])
            throw error
        }
    }

    public func get(_ key: String) async throws -> [UInt8]? {
        let answer = try await ask(.GET, key)
        return answer.isMissingObject ? nil : try answer.expectSuccess(address).body
    }

    public func exists(_ key: String) async throws -> Bool {
        let answer = try await ask(.HEAD, key)
        if answer.status == 404 { return false }
        try answer.expectSuccess(address)
        return true
    }

    public func list(_ prefix: String, _ body: ([StoredObject]) async throws -> Void) async throws {
        let whole = self.prefix + prefix
        var token: String?
        repeat {
            var query = [("list-type", "2"), ("prefix", whole)]
            if let token { query.append(("continuation-token", token)) }
            let page = XMLText(try await ask(.GET, nil, query: query).expectSuccess(address).body)
            let objects = page.all("Contents").compactMap { entry -> StoredObject? in
                let entry = XMLText(entry)
                guard let key = entry.first("Key"), key.hasPrefix(whole), let size = entry.first("Size").flatMap({ UInt64($0) }) else { return nil }
                return StoredObject(key: String(key.dropFirst(self.prefix.count)), sizeBytes: size)
            }
            if !objects.isEmpty { try await body(objects) }
            token = page.first("IsTruncated") == "true" ? page.first("NextContinuationToken") : nil
        } while token != nil
    }

    public func delete(_ key: String) async throws {
        let answer = try await ask(.DELETE, key)
        if !answer.isMissingObject { try answer.expectSuccess(address) }
    }

    /// For tests; people make their buckets themselves.
    func makeBucket() async throws { try await ask(.PUT, nil).expectSuccess(address) }

    // MARK: Requests

    /// Asks until there is an answer that is not about a passing trouble, with pauses that grow.
    private func ask(_ method: HTTPMethod, _ key: String?, query: [(String, String)] = [], body: [UInt8] = []) async throws -> S3Answer {
        var pause = Self.firstPause
        for attempt in 1... {
            do {
                let answer = try await askOnce(method, key, query, body)
                if !answer.mayPass || attempt == Self.attempts { return answer }
            } catch {
                try Task.checkCancellation()
                guard attempt < Self.attempts else {
                    throw NeedletailError(
                        .unavailable, "the S3 service at \(access.host) does not answer; check AWS_ENDPOINT_URL and the network", cause: error,
                        location: address)
                }
            }
            try await Task.sleep(for: pause * Double.random(in: 0.5...1))
            pause *= 2
        }
        throw NeedletailError(.internal, "attempts have no end")
    }

    private func askOnce(_ method: HTTPMethod, _ key: String?, _ query: [(String, String)], _ body: [UInt8]) async throws -> S3Answer {
        let path = "/" + Signature.encoded(key.map { "\(bucket)/\(prefix)\($0)" } ?? bucket, keepingSlashes: true)
        let (time, bodyHash) = (SigningTime.now, sha256(body).hexadecimal)
        var headers = [("host", access.host), ("x-amz-content-sha256", bodyHash), ("x-amz-date", time.stamp)]
        if let token = access.sessionToken { headers.append(("x-amz-security-token", token)) }
        let signature = Signature(
            method: method.rawValue, path: path, query: query.map { (name: $0.0, value: $0.1) }, headers: headers.map { (name: $0.0, value: $0.1) },
            bodyHash: bodyHash)
        let queryText = signature.canonicalQuery
        var request = HTTPClientRequest(url: access.endpoint + path + (queryText.isEmpty ? "" : "?" + queryText))
        request.method = method
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        request.headers.add(
            name: "authorization",
            value: signature.authorization(accessKey: access.accessKey, secret: access.secret, region: access.region, time: time))
        if method == .PUT || method == .POST { request.body = .bytes(ByteBuffer(bytes: body)) }
        let response = try await Self.client.execute(request, timeout: Self.timeout)
        let answer = try await response.body.collect(upTo: Self.answerBytes)
        return S3Answer(status: response.status.code, headers: response.headers, body: Array(answer.readableBytesView))
    }
}

/// What an S3 service answered.
struct S3Answer {
    var status: UInt
    var headers: HTTPHeaders
    var body: [UInt8]

    private var code: String { XMLText(body).first("Code") ?? "" }

    var mayPass: Bool { status == 429 || status >= 500 }
    var isMissingObject: Bool { status == 404 && code != "NoSuchBucket" }

    @discardableResult func expectSuccess(_ address: String) throws(NeedletailError) -> S3Answer {
        guard (200..<300).contains(status) else { throw failure(address) }
        return self
    }

    /// The service's own words are left out: some repeat the credentials.
    func failure(_ address: String) -> NeedletailError {
        let said = code.isEmpty ? "status \(status)" : code
        switch (status, code) {
        case (_, "NoSuchBucket"): return NeedletailError(.notFound, "the bucket does not exist; make it first (\(said))", location: address)
        case (401, _), (403, _):
            return NeedletailError(
                .permissionDenied,
                "the S3 service refuses the credentials (\(said)); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION of the coordinators and "
                    + "shard workers, and what they may do", location: address)
        case (_, "QuotaExceeded"), (507, _): return NeedletailError(.resourceExhausted, "the S3 service has no room (\(said))", location: address)
        case (429, _), (500..., _):
            return NeedletailError(.unavailable, "the S3 service cannot answer now (\(said)); try again", location: address)
        default: return NeedletailError(.unknown, "the S3 service refused the request (\(said))", location: address)
        }
    }
}

/// The little of XML that answers of S3 services need: elements by their names.
struct XMLText {
    private let text: Substring

    init(_ bytes: [UInt8]) { text = Substring(String(decoding: bytes, as: UTF8.self)) }
    init(_ text: Substring) { self.text = text }

    func first(_ name: String) -> String? { all(name, limit: 1).first.map { Self.plain(String($0)) } }

    /// What stands between the tags.
    func all(_ name: String, limit: Int = .max) -> [Substring] {
        let (opening, closing) = ("<\(name)>", "</\(name)>")
        var (found, rest): ([Substring], Substring) = ([], text)
        while found.count < limit, let start = Self.find(opening, in: rest), let end = Self.find(closing, in: rest[start.upperBound...]) {
            found.append(rest[start.upperBound..<end.lowerBound])
            rest = rest[end.upperBound...]
        }
        return found
    }

    private static func find(_ word: String, in text: Substring) -> Range<Substring.Index>? {
        let (bytes, wanted) = (text.utf8, Array(word.utf8))
        var index = bytes.startIndex
        while let start = bytes[index...].firstIndex(of: wanted[0]) {
            if bytes[start...].starts(with: wanted) { return start..<bytes.index(start, offsetBy: wanted.count) }
            index = bytes.index(after: start)
        }
        return nil
    }

    private static func plain(_ text: String) -> String {
        guard text.utf8.contains(UInt8(ascii: "&")) else { return text }
        var result = text
        for (name, value) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&amp;", "&")] {
            result = result.split(separator: name, omittingEmptySubsequences: false).joined(separator: value)
        }
        return result
    }
}
