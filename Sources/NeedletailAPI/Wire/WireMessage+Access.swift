package import CNeedletailMessages

// needletail/v1/access.proto
extension Needletail__V1__Grant: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__grant__init(message) }
}
extension Needletail__V1__FilterCondition: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__filter_condition__init(message) }
}
extension Needletail__V1__RequestLimits: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__request_limits__init(message) }
}
extension Needletail__V1__ApiKey: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__api_key__init(message) }
}
extension Needletail__V1__CreateKeyRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__create_key_request__init(message) }
}
extension Needletail__V1__CreateKeyResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__create_key_response__init(message) }
}
extension Needletail__V1__ListKeysRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_keys_request__init(message) }
}
extension Needletail__V1__ListKeysResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__list_keys_response__init(message) }
}
extension Needletail__V1__RevokeKeyRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__revoke_key_request__init(message) }
}
extension Needletail__V1__RevokeKeyResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__revoke_key_response__init(message) }
}
extension Needletail__V1__WhoAmIRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__who_am_irequest__init(message) }
}
extension Needletail__V1__WhoAmIResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { needletail__v1__who_am_iresponse__init(message) }
}
