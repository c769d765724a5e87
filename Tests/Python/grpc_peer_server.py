"""A grpcio server for the Swift client of PythonInteropTests. Prints its port; ends when its input does."""

import sys
import time
from concurrent import futures

import grpc


def fail(request, context):
    context.set_trailing_metadata([("why-bin", b"\x00\x01"), ("where", "here")])
    context.abort(grpc.StatusCode.NOT_FOUND, request.decode())


def sleep(request, context):
    time.sleep(int(request) / 1000)
    return request


def metadata(request, context):
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata([("initial-bytes-bin", sent["bytes-bin"])])
    context.set_trailing_metadata([("trailer-text", sent["text"])])
    return sent["text"].encode()


def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def total(requests, context):
    return b"%d" % sum(int(r) for r in requests)


def chat(requests, context):
    yield from requests


handlers = grpc.method_handlers_generic_handler(
    "test.Echo",
    {
        "Echo": grpc.unary_unary_rpc_method_handler(lambda request, context: request),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
        "Metadata": grpc.unary_unary_rpc_method_handler(metadata),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Sum": grpc.stream_unary_rpc_method_handler(total),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    },
)
server = grpc.server(
    futures.ThreadPoolExecutor(max_workers=32),
    options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    compression=grpc.Compression.Gzip if "gzip" in sys.argv else None,
)
server.add_generic_rpc_handlers((handlers,))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
server.stop(0)
