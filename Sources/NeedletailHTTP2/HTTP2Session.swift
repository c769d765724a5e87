private import CNghttp2
import NIOCore
import NeedletailCore

/// The owner of one `nghttp2_session`. The event loop of its connection confines it.
///
/// The connection is the callbacks' `user_data`: it owns the session, so it outlives it.
final class HTTP2Session {
    enum Role { case server, client }

    private let handle: OpaquePointer

    init(role: Role, settings: HTTP2Settings, connection: HTTP2Connection) throws {
        var options: OpaquePointer?
        guard nghttp2_option_new(&options) == 0, let options else { throw Self.outOfMemory }
        defer { nghttp2_option_del(options) }
        // Credit goes back when bytes are consumed, not when they arrive: that is the back-pressure.
        nghttp2_option_set_no_auto_window_update(options, 1)
        nghttp2_option_set_max_outbound_ack(options, 1000)
        nghttp2_option_set_max_settings(options, 32)
        nghttp2_option_set_max_continuations(options, 8)
        nghttp2_option_set_stream_reset_rate_limit(options, UInt64(settings.resetBurst), UInt64(settings.resetsPerSecond))
        // Closed streams are only kept for the old priority tree, which our settings switch off.
        nghttp2_option_set_no_closed_streams(options, 1)

        var session: OpaquePointer?
        let userData = Unmanaged.passUnretained(connection).toOpaque()
        let callbacks = HTTP2Callbacks.shared.pointer
        let result =
            role == .server
            ? nghttp2_session_server_new2(&session, callbacks, userData, options)
            : nghttp2_session_client_new2(&session, callbacks, userData, options)
        guard result == 0, let session else { throw Self.outOfMemory }
        handle = session
        try submitSettings(role: role, settings)
    }

    deinit { nghttp2_session_del(handle) }

    private static var outOfMemory: NeedletailError {
        NeedletailError(.resourceExhausted, "No memory for an HTTP/2 session. Lower the number of connections or add memory.")
    }

    private func submitSettings(role: Role, _ settings: HTTP2Settings) throws {
        var entries: [nghttp2_settings_entry] = []
        func add(_ id: nghttp2_settings_id, _ value: Int) {
            entries.append(nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(value)))
        }
        add(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.maxConcurrentStreams)
        add(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.streamWindowBytes)
        add(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings.maxFrameBytes)
        add(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.maxHeaderListBytes)
        add(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1)
        if role == .client { add(NGHTTP2_SETTINGS_ENABLE_PUSH, 0) }
        var result = nghttp2_submit_settings(handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), entries, entries.count)
        if result == 0 {
            let window = Int32(settings.connectionWindowBytes)
            result = nghttp2_session_set_local_window_size(handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, window)
        }
        guard result == 0 else {
            throw NeedletailError(
                .invalidArgument, "HTTP/2 refuses the settings: \(Self.describe(result)). Check the window sizes.")
        }
    }

    static func describe(_ code: Int32) -> String { String(cString: nghttp2_strerror(code)) }

    // MARK: Bytes

    /// Feeds bytes from the socket; nil or the reason why the connection must end.
    func receive(_ bytes: UnsafeRawBufferPointer) -> String? {
        guard let base = bytes.baseAddress else { return nil }
        let result = nghttp2_session_mem_recv(handle, base.assumingMemoryBound(to: UInt8.self), bytes.count)
        return result < 0 ? Self.describe(Int32(result)) : nil
    }

    /// The next frame to send, valid until the next call. Empty when there is nothing.
    func nextFrame() throws -> UnsafeRawBufferPointer {
        var start: UnsafePointer<UInt8>?
        let count = nghttp2_session_mem_send(handle, &start)
        guard count >= 0 else {
            throw NeedletailError(.internal, "HTTP/2 cannot write the next frame: \(Self.describe(Int32(count))).")
        }
        return UnsafeRawBufferPointer(start: start, count: count)
    }

    /// Whether the session has come to its end: nothing to read and nothing to write.
    var isOver: Bool { nghttp2_session_want_read(handle) == 0 && nghttp2_session_want_write(handle) == 0 }

    // MARK: Streams

    /// Opens a stream; its number, or a negative nghttp2 error.
    func submitRequest(_ stream: HTTP2Stream, _ headers: HTTP2HeaderBlock) -> Int32 {
        let pointer = Unmanaged.passUnretained(stream).toOpaque()
        var provider = Self.makeProvider(pointer)
        return Self.withFields(headers) { nghttp2_submit_request(handle, nil, $0, headers.count, &provider, pointer) }
    }

    func submitResponse(_ stream: HTTP2Stream, _ headers: HTTP2HeaderBlock, hasBody: Bool) -> Int32 {
        var provider = Self.makeProvider(Unmanaged.passUnretained(stream).toOpaque())
        return Self.withFields(headers) { fields in
            hasBody
                ? nghttp2_submit_response(handle, stream.id, fields, headers.count, &provider)
                : nghttp2_submit_response(handle, stream.id, fields, headers.count, nil)
        }
    }

    func submitTrailers(_ id: Int32, _ headers: HTTP2HeaderBlock) -> Int32 {
        Self.withFields(headers) { nghttp2_submit_trailer(handle, id, $0, headers.count) }
    }

    func attach(_ stream: HTTP2Stream) {
        nghttp2_session_set_stream_user_data(handle, stream.id, Unmanaged.passUnretained(stream).toOpaque())
    }

    func detach(_ id: Int32) { nghttp2_session_set_stream_user_data(handle, id, nil) }

    func resume(_ id: Int32) { _ = nghttp2_session_resume_data(handle, id) }

    func reset(_ id: Int32, _ code: HTTP2ErrorCode) {
        _ = nghttp2_submit_rst_stream(handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, code.rawValue)
    }

    // MARK: Credit

    func consumeStream(_ id: Int32, _ count: Int) { _ = nghttp2_session_consume_stream(handle, id, count) }
    func consumeConnection(_ count: Int) { _ = nghttp2_session_consume_connection(handle, count) }

    // MARK: The connection

    func ping() { _ = nghttp2_submit_ping(handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil) }

    /// Says that no new stream will be served soon, without naming a last stream: requests on the way still count.
    func announceShutdown() { _ = nghttp2_submit_shutdown_notice(handle) }

    /// Refuses streams beyond those seen so far.
    func refuseNewStreams() {
        let last = nghttp2_session_get_last_proc_stream_id(handle)
        _ = nghttp2_submit_goaway(handle, UInt8(NGHTTP2_FLAG_NONE.rawValue), last, HTTP2ErrorCode.noError.rawValue, nil, 0)
    }

    /// Sends GOAWAY with `code`; the session is over once that is out.
    func terminate(_ code: HTTP2ErrorCode) { _ = nghttp2_session_terminate_session(handle, code.rawValue) }

    var peerMaxConcurrentStreams: Int {
        Int(clamping: nghttp2_session_get_remote_settings(handle, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
    }

    /// False when the 31-bit stream numbers are nearly used up, or the peer sent GOAWAY.
    var canOpenStreams: Bool {
        nghttp2_session_check_request_allowed(handle) != 0 && nghttp2_session_get_next_stream_id(handle) < 0x7fff_0000
    }

    // MARK: -

    /// Where the body of `stream` comes from; `writeData` then sends what this promised.
    private static func makeProvider(_ stream: UnsafeMutableRawPointer) -> nghttp2_data_provider {
        nghttp2_data_provider(
            source: nghttp2_data_source(ptr: stream),
            read_callback: { _, id, _, limit, flags, source, user in
                let stream = Unmanaged<HTTP2Stream>.fromOpaque(source!.pointee.ptr).takeUnretainedValue()
                let available = stream.outbound.byteCount
                guard available > 0 || stream.outboundFinished else {
                    stream.isDeferred = true
                    return Int(NGHTTP2_ERR_DEFERRED.rawValue)
                }
                flags!.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
                if available <= limit, stream.outboundFinished {
                    flags!.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
                    if let trailers = stream.trailers {
                        flags!.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                        connection(user).submitTrailers(id, trailers)
                    }
                }
                return min(available, limit)
            })
    }

    /// nghttp2 copies the fields, so the pointers need to live for the call only.
    private static func withFields(_ headers: HTTP2HeaderBlock, _ body: (UnsafePointer<nghttp2_nv>) -> Int32) -> Int32 {
        headers.bytes.withUnsafeBufferPointer { bytes in
            withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: max(headers.count, 1)) { fields in
                let base = UnsafeMutablePointer(mutating: bytes.baseAddress)
                for (index, field) in headers.fields.enumerated() {
                    let flags = field.isTransient ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE
                    fields.initializeElement(
                        at: index,
                        to: nghttp2_nv(
                            name: base.map { $0 + field.name.lowerBound }, value: base.map { $0 + field.value.lowerBound },
                            namelen: field.name.count, valuelen: field.value.count, flags: UInt8(flags.rawValue)))
                }
                return body(fields.baseAddress!)
            }
        }
    }
}
