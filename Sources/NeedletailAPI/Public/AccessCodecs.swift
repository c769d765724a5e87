import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension PublicMessages {
    public static let createKey = MessageCodec<CallerInfo>(
        write: { caller, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__CreateKeyRequest.self)
            message.pointee.name = try arena.text(caller.name)
            message.pointee.n_grants = caller.grants.count
            message.pointee.grants = try arena.list(caller.grants, arena.grant)
            message.pointee.n_filter = caller.filter?.conditions.count ?? 0
            message.pointee.filter = try arena.list(caller.filter?.conditions ?? [], arena.filterCondition)
            message.pointee.limits = try arena.requestLimits(caller.limits)
            message.pointee.expires_milliseconds = caller.expiresMilliseconds ?? 0
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__CreateKeyRequest>) throws(NeedletailError) in
            let request = message.pointee
            return CallerInfo(
                name: string(request.name), grants: try messages(request.grants, request.n_grants) { grant throws(NeedletailError) in try Grant(grant) },
                filter: try PayloadFilter(request.filter, request.n_filter), limits: try RequestLimits(request.limits),
                expiresMilliseconds: request.expires_milliseconds == 0 ? nil : request.expires_milliseconds)
        })

    public static let keyCreated = MessageCodec<(key: String, info: AccessKeyInfo)>(
        write: { created, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__CreateKeyResponse.self)
            message.pointee.key = try arena.text(created.key)
            message.pointee.description = try arena.apiKey(created.info)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__CreateKeyResponse>) throws(NeedletailError) in
            (key: string(message.pointee.key), info: try AccessKeyInfo(try need(message.pointee.description, "description")))
        })

    public static let listKeys = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__ListKeysRequest.self) },
        read: { (_: UnsafePointer<Needletail__V1__ListKeysRequest>) in })

    public static let keys = MessageCodec<[AccessKeyInfo]>(
        write: { keys, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListKeysResponse.self)
            message.pointee.n_keys = keys.count
            message.pointee.keys = try arena.list(keys, arena.apiKey)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListKeysResponse>) throws(NeedletailError) in
            try messages(message.pointee.keys, message.pointee.n_keys) { key throws(NeedletailError) in try AccessKeyInfo(key) }
        })

    public static let revokeKey = MessageCodec<String>(
        write: { id, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__RevokeKeyRequest.self)
            message.pointee.id = try arena.text(id)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__RevokeKeyRequest>) in string(message.pointee.id) })

    public static let keyRevoked = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__RevokeKeyResponse.self) },
        read: { (_: UnsafePointer<Needletail__V1__RevokeKeyResponse>) in })

    public static let whoAmI = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__WhoAmIRequest.self) },
        read: { (_: UnsafePointer<Needletail__V1__WhoAmIRequest>) in })

    public static let caller = MessageCodec<CallerInfo>(
        write: { caller, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__WhoAmIResponse.self)
            message.pointee.name = try arena.text(caller.name)
            message.pointee.n_grants = caller.grants.count
            message.pointee.grants = try arena.list(caller.grants, arena.grant)
            message.pointee.n_filter = caller.filter?.conditions.count ?? 0
            message.pointee.filter = try arena.list(caller.filter?.conditions ?? [], arena.filterCondition)
            message.pointee.limits = try arena.requestLimits(caller.limits)
            message.pointee.expires_milliseconds = caller.expiresMilliseconds ?? 0
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__WhoAmIResponse>) throws(NeedletailError) in
            let answer = message.pointee
            return CallerInfo(
                name: string(answer.name), grants: try messages(answer.grants, answer.n_grants) { grant throws(NeedletailError) in try Grant(grant) },
                filter: try PayloadFilter(answer.filter, answer.n_filter), limits: try RequestLimits(answer.limits),
                expiresMilliseconds: answer.expires_milliseconds == 0 ? nil : answer.expires_milliseconds)
        })
}

// MARK: - The parts

extension Grant {
    fileprivate init(_ message: UnsafePointer<Needletail__V1__Grant>) throws(NeedletailError) {
        let grant = message.pointee
        let roles: [Role] = Role.allCases.filter { Int($0.rawValue) == Int(grant.role.rawValue) }
        guard let role = roles.first else { throw NeedletailError(.invalidArgument, "a grant has a role: read, write or admin") }
        let collection = string(grant.collection)
        guard (grant.cluster != 0) == collection.isEmpty else {
            throw NeedletailError(.invalidArgument, "a grant names a collection or the cluster, one of them")
        }
        try self.init(role, on: grant.cluster != 0 ? .cluster : .collections(collection))
    }
}

extension PayloadFilter {
    /// nil when there are no conditions.
    fileprivate init?(
        _ conditions: UnsafeMutablePointer<UnsafeMutablePointer<Needletail__V1__FilterCondition>?>?, _ count: Int
    ) throws(NeedletailError) {
        if count == 0 { return nil }
        try self.init(
            try messages(conditions, count) { condition throws(NeedletailError) in
                Condition(
                    key: PayloadKey(string(condition.pointee.key)),
                    values: try messages(condition.pointee.values, condition.pointee.n_values) { value throws(NeedletailError) in try Value(value) })
            })
    }
}

extension PayloadFilter.Value {
    fileprivate init(_ message: UnsafePointer<ValueMessage>) throws(NeedletailError) {
        switch message.pointee.kind_case {
        case NEEDLETAIL__V1__VALUE__KIND_BOOL_VALUE: self = .bool(message.pointee.bool_value != 0)
        case NEEDLETAIL__V1__VALUE__KIND_INT_VALUE: self = .integer(message.pointee.int_value)
        case NEEDLETAIL__V1__VALUE__KIND_STRING_VALUE: self = .string(NeedletailAPI.string(message.pointee.string_value))
        default: throw NeedletailError(.invalidArgument, "the values of a filter are texts, whole numbers and booleans")
        }
    }
}

extension RequestLimits {
    fileprivate init(_ message: UnsafeMutablePointer<Needletail__V1__RequestLimits>?) throws(NeedletailError) {
        guard let limits = message?.pointee else {
            self.init()
            return
        }
        func some(_ value: some BinaryInteger) -> Int? { value == 0 ? nil : Int(clamping: value) }
        self = try RequestLimits(
            requestsPerSecond: limits.requests_per_second == 0 ? nil : limits.requests_per_second, requestBytes: some(limits.request_bytes),
            batch: some(limits.batch), ef: some(limits.ef), limit: some(limits.limit)
        ).checked()
    }
}

extension AccessKeyInfo {
    fileprivate init(_ message: UnsafePointer<Needletail__V1__ApiKey>) throws(NeedletailError) {
        let key = message.pointee
        self.init(
            id: string(key.id),
            caller: CallerInfo(
                name: string(key.name), grants: try messages(key.grants, key.n_grants) { grant throws(NeedletailError) in try Grant(grant) },
                filter: try PayloadFilter(key.filter, key.n_filter), limits: try RequestLimits(key.limits),
                expiresMilliseconds: key.expires_milliseconds == 0 ? nil : key.expires_milliseconds),
            createdMilliseconds: key.created_milliseconds, lastUsedMilliseconds: key.last_used_milliseconds == 0 ? nil : key.last_used_milliseconds)
    }
}

extension MessageArena {
    fileprivate func grant(_ grant: Grant) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__Grant> {
        let message = try make(Needletail__V1__Grant.self)
        message.pointee.role = Needletail__V1__Role(rawValue: UInt32(grant.role.rawValue))
        switch grant.target {
        case .cluster: message.pointee.cluster = 1
        case .collections(let pattern): message.pointee.collection = try text(pattern)
        }
        return message
    }

    fileprivate func filterCondition(
        _ condition: PayloadFilter.Condition
    ) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__FilterCondition> {
        let message = try make(Needletail__V1__FilterCondition.self)
        message.pointee.key = try text(condition.key.text)
        message.pointee.n_values = condition.values.count
        message.pointee.values = try list(condition.values) { value throws(NeedletailError) in
            let part = try self.make(ValueMessage.self)
            switch value {
            case .bool(let flag):
                part.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_BOOL_VALUE
                part.pointee.bool_value = flag ? 1 : 0
            case .integer(let number):
                part.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_INT_VALUE
                part.pointee.int_value = number
            case .string(let content):
                part.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_STRING_VALUE
                part.pointee.string_value = try self.text(content)
            }
            return part
        }
        return message
    }

    /// nil when there are none.
    fileprivate func requestLimits(_ limits: RequestLimits) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__RequestLimits>? {
        if limits == RequestLimits() { return nil }
        let message = try make(Needletail__V1__RequestLimits.self)
        message.pointee.requests_per_second = limits.requestsPerSecond ?? 0
        message.pointee.request_bytes = UInt64(clamping: limits.requestBytes ?? 0)
        message.pointee.batch = UInt32(clamping: limits.batch ?? 0)
        message.pointee.ef = UInt32(clamping: limits.ef ?? 0)
        message.pointee.limit = UInt32(clamping: limits.limit ?? 0)
        return message
    }

    fileprivate func apiKey(_ key: AccessKeyInfo) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__ApiKey> {
        let message = try make(Needletail__V1__ApiKey.self)
        message.pointee.id = try text(key.id)
        message.pointee.name = try text(key.caller.name)
        message.pointee.n_grants = key.caller.grants.count
        message.pointee.grants = try list(key.caller.grants, grant)
        message.pointee.n_filter = key.caller.filter?.conditions.count ?? 0
        message.pointee.filter = try list(key.caller.filter?.conditions ?? [], filterCondition)
        message.pointee.limits = try requestLimits(key.caller.limits)
        message.pointee.created_milliseconds = key.createdMilliseconds
        message.pointee.expires_milliseconds = key.caller.expiresMilliseconds ?? 0
        message.pointee.last_used_milliseconds = key.lastUsedMilliseconds ?? 0
        return message
    }
}
