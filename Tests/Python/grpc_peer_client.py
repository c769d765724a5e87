"""A grpcio client against the Swift server of PythonInteropTests: `grpc_peer_client.py PORT`. Prints "ok" at the end."""

import sys
import threading
import time

import grpc

channel = grpc.insecure_channel(
    f"127.0.0.1:{sys.argv[1]}",
    options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
)


def unary(name):
    return channel.unary_unary(f"/test.Echo/{name}")


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return None, None


def pattern(count):
    return bytes((i * 31 + (i >> 8)) & 255 for i in range(count))


echo = unary("Echo")
for size in [0, 1, 5, 100, 16379, 16384, 65535, 65536, 1 << 20, 5_000_000]:
    message = pattern(size)
    assert echo(message) == message, size
big = b"x" * (64 << 20)
assert echo(big) == big

for size in [0, 10, 600, 1 << 20]:
    message = pattern(size)
    assert echo(message, compression=grpc.Compression.Gzip) == message, size

code, details = code_of(lambda: unary("Fail")("ünï % code\nline".encode()))
assert code == grpc.StatusCode.NOT_FOUND and details == "ünï % code\nline", (code, details)
assert code_of(lambda: unary("Missing")(b""))[0] == grpc.StatusCode.UNIMPLEMENTED
assert code_of(lambda: echo(b"x", compression=grpc.Compression.Deflate))[0] == grpc.StatusCode.UNIMPLEMENTED

start = time.monotonic()
assert code_of(lambda: unary("Sleep")(b"10000", timeout=0.2))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
assert time.monotonic() - start < 3

response, call = unary("Metadata").with_call(b"", metadata=[("text", "hello"), ("bytes-bin", b"\x00\xff\x01")])
assert response == b"hello"
assert dict(call.initial_metadata())["initial-bytes-bin"] == b"\x00\xff\x01"
assert dict(call.trailing_metadata())["trailer-text"] == "hello"

count = channel.unary_stream("/test.Echo/Count")
assert [int(m) for m in count(b"1000")] == list(range(1000))
total = channel.stream_unary("/test.Echo/Sum")
assert total(str(i).encode() for i in range(1000)) == b"499500"
chat = channel.stream_stream("/test.Echo/Chat")
messages = [pattern(i * 97 % 30000) for i in range(500)]
assert list(chat(iter(messages))) == messages
assert list(chat(iter(messages), compression=grpc.Compression.Gzip)) == messages

stream = count(b"100000000")
for _, _ in zip(range(100), stream):
    pass
stream.cancel()
assert stream.code() == grpc.StatusCode.CANCELLED

errors = []


def hammer():
    try:
        for i in range(200):
            assert echo(b"%d" % i) == b"%d" % i
    except Exception as error:
        errors.append(error)


threads = [threading.Thread(target=hammer) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not errors, errors
print("ok")
