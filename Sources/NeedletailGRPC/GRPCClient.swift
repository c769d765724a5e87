public import NIOCore
import NeedletailCore
import Synchronization

/// A client of one server. It connects at the first call, keeps the connection, and connects again when it is lost.
///
/// `close` it before its event loops end. A client that is dropped unclosed closes by itself, some time later.
///
/// Every call may throw a `NeedletailError` whose code is the gRPC status. Cancelling the calling task cancels the call.
public final class GRPCClient: Sendable {
    private let channels: [ClientChannel]
    private let turn = Atomic<UInt>(0)
    private let isClosed = Atomic<Bool>(false)

    public init(host: String, port: Int, configuration: GRPCClientConfiguration = .init(), group: any EventLoopGroup) {
        channels = (0..<max(1, configuration.connections)).map { _ in
            ClientChannel(host: host, port: port, configuration: configuration, eventLoop: group.next())
        }
    }

    deinit {
        guard !isClosed.load(ordering: .acquiring) else { return }
        for channel in channels { channel.onLoop { channel.close(nil) } }
    }

    /// The event loop of the first connection. A task that prefers `LoopExecutor.on` this loop calls without a change of threads.
    public var eventLoop: any EventLoop { channels[0].eventLoop }

    /// host:port.
    var authority: String { channels[0].authority }

    private var channel: ClientChannel {
        if channels.count == 1 { return channels[0] }
        // A caller on one of the loops stays there.
        if let here = channels.first(where: { $0.eventLoop.inEventLoop }) { return here }
        let turn = turn.wrappingAdd(1, ordering: .relaxed).newValue
        return channels[Int(turn % UInt(channels.count))]
    }

    /// One message out, one message back.
    public func unary(_ method: GRPCMethod, _ request: ByteBuffer, options: CallOptions = .init()) async throws -> ByteBuffer {
        let channel = channel
        let call = ClientCall(method, options, channel)
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                channel.onLoop { call.start(request, continuation) }
            }
        } onCancel: {
            channel.onLoop { call.cancel() }
        }
    }

    /// `unary`, with what came beside the answer.
    public func unaryResponse(
        _ method: GRPCMethod, _ request: ByteBuffer, options: CallOptions = .init()
    ) async throws -> UnaryResponse {
        let stream = try await serverStreaming(method, request, options: options)
        var messages = stream.makeAsyncIterator()
        guard let message = try await messages.next() else { throw stream.noAnswer }
        guard try await messages.next() == nil else { throw stream.secondAnswer }
        return UnaryResponse(message: message, initialMetadata: await stream.initialMetadata(), trailers: await stream.trailers())
    }

    /// A stream of messages out, one message back.
    public func clientStreaming(_ method: GRPCMethod, options: CallOptions = .init()) async throws -> ClientStreamingCall {
        ClientStreamingCall(startStreaming(method, nil, options))
    }

    /// One message out, a stream of messages back.
    public func serverStreaming(
        _ method: GRPCMethod, _ request: ByteBuffer, options: CallOptions = .init()
    ) async throws -> ResponseStream {
        ResponseStream(startStreaming(method, request, options))
    }

    /// Streams both ways, independent of each other.
    public func bidirectional(_ method: GRPCMethod, options: CallOptions = .init()) async throws -> BidirectionalCall {
        BidirectionalCall(startStreaming(method, nil, options))
    }

    private func startStreaming(_ method: GRPCMethod, _ request: ByteBuffer?, _ options: CallOptions) -> CallHandle {
        let channel = channel
        let call = ClientCall(method, options, channel)
        let inbox = MessageInbox(call, limit: options.maxMessageBytes, windowBytes: channel.streamWindowBytes)
        let outbox = MessageOutbox(call)
        call.inbox = inbox
        call.outbox = outbox
        channel.onLoop { call.startStreaming(request) }
        return CallHandle(call, inbox, outbox)
    }

    /// Ends a wait for the next attempt to connect, for a caller who has heard that the server is there again.
    public func resetBackoff() { for channel in channels { channel.onLoop { channel.resetBackoff() } } }

    /// Cancels the calls in flight and closes the connections. Later calls fail.
    public func close() async {
        isClosed.store(true, ordering: .releasing)
        for channel in channels {
            await withUnsafeContinuation { continuation in channel.onLoop { channel.close(continuation) } }
        }
    }
}

/// The answer to a unary call, with the metadata around it.
public struct UnaryResponse: Sendable {
    public let message: ByteBuffer
    public let initialMetadata: GRPCMetadata
    public let trailers: GRPCMetadata
}
