private import CNghttp2

/// The table of nghttp2 callbacks: each finds the connection and the stream, and calls their Swift method.
///
/// One table serves every session, as nghttp2 copies it. It lives as long as the process.
final class HTTP2Callbacks: @unchecked Sendable {  // immutable after init
    static let shared = HTTP2Callbacks()
    let pointer: OpaquePointer

    private init() {
        var table: OpaquePointer?
        precondition(nghttp2_session_callbacks_new(&table) == 0 && table != nil, "out of memory at start")
        pointer = table!
        setReceivers()
        setSenders()
    }

    private func setReceivers() {
        nghttp2_session_callbacks_set_on_begin_frame_callback(pointer) { _, header, user in
            if isIdle(header!.pointee) { connection(user).spend(1) }
            return 0
        }
        nghttp2_session_callbacks_set_on_begin_headers_callback(pointer) { session, frame, user in
            let header = frame!.pointee.hd
            guard header.type == NGHTTP2_HEADERS.rawValue else { return 0 }
            if let stream = streamOf(session, header.stream_id) {
                stream.headerListBytes = 0
                return 0
            }
            connection(user).beginStream(header.stream_id)
            return 0
        }
        nghttp2_session_callbacks_set_on_header_callback(pointer) { session, frame, name, nameCount, value, valueCount, _, user in
            guard let stream = streamOf(session, frame!.pointee.hd.stream_id) else { return 0 }
            let name = UnsafeRawBufferPointer(start: name, count: nameCount)
            let value = UnsafeRawBufferPointer(start: value, count: valueCount)
            connection(user).receiveHeader(stream, name: name.bytes, value: value.bytes)
            return 0
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(pointer) { session, _, id, bytes, count, user in
            connection(user).receiveBody(streamOf(session, id), UnsafeRawBufferPointer(start: bytes, count: count))
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(pointer) { session, frame, user in
            receiveFrame(session, frame!, connection(user))
            return 0
        }
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(pointer) { _, _, _, user in
            connection(user).spend(10)
            return 0
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(pointer) { session, id, code, user in
            if let stream = streamOf(session, id) { connection(user).streamClosed(stream, HTTP2ErrorCode(rawValue: code)) }
            return 0
        }
    }

    private func setSenders() {
        nghttp2_session_callbacks_set_send_data_callback(pointer) { _, _, header, count, source, user in
            // Padding is never asked for, so the frame is its header and `count` bytes.
            let stream = Unmanaged<HTTP2Stream>.fromOpaque(source!.pointee.ptr).takeUnretainedValue()
            connection(user).writeData(stream, header: UnsafeRawBufferPointer(start: header, count: 9), count: count)
            return 0
        }
        nghttp2_session_callbacks_set_data_source_read_length_callback(pointer) {
            _, _, _, connectionWindow, streamWindow, frameSize, _ in
            Int(min(connectionWindow, min(streamWindow, Int32(min(frameSize, 64 << 10)))))
        }
        nghttp2_session_callbacks_set_on_frame_send_callback(pointer) { session, frame, user in
            let header = frame!.pointee.hd
            guard header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0, header.type <= NGHTTP2_HEADERS.rawValue,
                let stream = streamOf(session, header.stream_id)
            else { return 0 }
            connection(user).endSent(stream)
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_not_send_callback(pointer) { _, frame, _, user in
            // A request that nghttp2 dropped before it became a stream: the peer knows nothing of it.
            guard frame!.pointee.hd.type == NGHTTP2_HEADERS.rawValue else { return 0 }
            connection(user).requestNotSent(frame!.pointee.hd.stream_id)
            return 0
        }
    }
}

func connection(_ user: UnsafeMutableRawPointer?) -> HTTP2Connection {
    Unmanaged<HTTP2Connection>.fromOpaque(user!).takeUnretainedValue()
}

func streamOf(_ session: OpaquePointer?, _ id: Int32) -> HTTP2Stream? {
    guard let pointer = nghttp2_session_get_stream_user_data(session, id) else { return nil }
    return Unmanaged<HTTP2Stream>.fromOpaque(pointer).takeUnretainedValue()
}

private func receiveFrame(_ session: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>, _ connection: HTTP2Connection) {
    let header = frame.pointee.hd
    let ends = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch UInt32(header.type) {
    case NGHTTP2_HEADERS.rawValue:
        if let stream = streamOf(session, header.stream_id) { connection.headersEnd(stream, endStream: ends) }
    case NGHTTP2_DATA.rawValue:
        if ends, let stream = streamOf(session, header.stream_id) { connection.streamEnd(stream) }
    case NGHTTP2_SETTINGS.rawValue:
        if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0 { connection.settingsReceived() }
    case NGHTTP2_PING.rawValue:
        if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 { connection.pingAnswered() }
    case NGHTTP2_GOAWAY.rawValue:
        connection.goAwayReceived(HTTP2ErrorCode(rawValue: frame.pointee.goaway.error_code))
    default: break
    }
}

/// Whether a frame costs us work and moves nothing forward. Seen before nghttp2 decides whether to report the frame at all: it
/// swallows PRIORITY and unknown frames in silence.
private func isIdle(_ header: nghttp2_frame_hd) -> Bool {
    switch UInt32(header.type) {
    case NGHTTP2_DATA.rawValue: header.length == 0 && header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) == 0
    case NGHTTP2_SETTINGS.rawValue, NGHTTP2_PING.rawValue: header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) == 0
    case NGHTTP2_HEADERS.rawValue, NGHTTP2_RST_STREAM.rawValue, NGHTTP2_GOAWAY.rawValue, NGHTTP2_WINDOW_UPDATE.rawValue,
        NGHTTP2_CONTINUATION.rawValue:
        false
    default: true
    }
}
