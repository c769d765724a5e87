internal import NeedletailAPI
internal import NeedletailAdmin
internal import NeedletailCore
internal import NeedletailGRPC
internal import NIOCore

/// Streams of the Connect protocol: messages in envelopes (a byte of flags, the length in four bytes, big-endian), and one more at the end that
/// says how the call went. The status is 200 whatever happens.
struct ConnectStream: Sendable {
    let client: GRPCClient
    let messages: MessageJSON
    let form: ConnectForm
    let route: GRPCMethod
    let options: CallOptions

    private static let compressed: UInt8 = 1
    private static let end: UInt8 = 2

    /// One message in, many out.
    func giving(_ body: ByteBuffer, input: String, output: String) async -> AdminAnswer {
        let request: ByteBuffer
        do throws(NeedletailError) {
            let all = try envelopes(body)
            guard all.count == 1 else { throw NeedletailError(.invalidArgument, "one message is expected, not \(all.count)") }
            request = try form.message(all[0], input, messages)
        } catch {
            return whole([envelope(Self.end, ended(error))])
        }
        do {
            let answers = try await client.serverStreaming(route, request, options: options)
            return AdminAnswer(
                status: 200, headers: [("content-type", form.contentType)], body: .pieces(Envelopes(stream: self, answers: answers, output: output)))
        } catch {
            return whole([envelope(Self.end, ended(Coordinator.wrap(error)))])
        }
    }

    /// A call's answers as they come, and how it ended.
    private struct Envelopes: AsyncSequence, Sendable {
        let stream: ConnectStream
        let answers: ResponseStream
        let output: String

        func makeAsyncIterator() -> Iterator { Iterator(stream: stream, answers: answers.makeAsyncIterator(), output: output) }

        struct Iterator: AsyncIteratorProtocol {
            let stream: ConnectStream
            var answers: ResponseStream.Iterator
            let output: String
            var isOver = false

            mutating func next() async throws -> ByteBuffer? {
                if isOver { return nil }
                do {
                    if let message = try await answers.next() {
                        return stream.envelope(0, try stream.form.body(message, output, stream.messages))
                    }
                    isOver = true
                    return stream.envelope(ConnectStream.end, stream.ended(nil))
                } catch {
                    isOver = true
                    return stream.envelope(ConnectStream.end, stream.ended(Coordinator.wrap(error)))
                }
            }
        }
    }

    /// Many messages in, one out.
    func taking(_ body: ByteBuffer, input: String, output: String) async -> AdminAnswer {
        do {
            let all = try envelopes(body)
            let call = try await client.clientStreaming(route, options: options)
            do {
                for message in all { try await call.send(try form.message(message, input, messages)) }
                let answer = try form.body(try await call.finish(), output, messages)
                return whole([envelope(0, answer), envelope(Self.end, ended(nil))])
            } catch {
                call.cancel()
                throw error
            }
        } catch {
            return whole([envelope(Self.end, ended(Coordinator.wrap(error)))])
        }
    }

    private func envelopes(_ body: ByteBuffer) throws(NeedletailError) -> [ByteBuffer] {
        var (rest, found) = (body, [ByteBuffer]())
        while rest.readableBytes > 0 {
            guard let flags = rest.readInteger(as: UInt8.self), let length = rest.readInteger(as: UInt32.self),
                let message = rest.readSlice(length: Int(length))
            else {
                throw NeedletailError(.invalidArgument, "an envelope is a byte of flags, four bytes of length, and the message")
            }
            if flags & Self.compressed != 0 { throw NeedletailError(.unimplemented, "compressed messages are not supported; send without") }
            if flags & Self.end == 0 { found.append(message) }
        }
        return found
    }

    private func envelope(_ flags: UInt8, _ content: ByteBuffer) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(flags)
        buffer.writeInteger(UInt32(content.readableBytes))
        buffer.writeImmutableBuffer(content)
        return buffer
    }

    private func ended(_ error: NeedletailError?) -> ByteBuffer { ByteBuffer(string: error.map { "{\"error\":\($0.connectJSON)}" } ?? "{}") }

    private func whole(_ pieces: [ByteBuffer]) -> AdminAnswer {
        var body = ByteBuffer()
        for piece in pieces { body.writeImmutableBuffer(piece) }
        return AdminAnswer(status: 200, headers: [("content-type", form.contentType)], body: .whole(body))
    }
}
