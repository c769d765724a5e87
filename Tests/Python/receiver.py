"""A receiver of traces: the messages are those of OpenTelemetry's own package, the server is grpcio's."""

import threading
from concurrent import futures

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(1, 6)


class Span:
    def __init__(self, span, service, instance):
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        assert len(self.trace) == 32 and len(self.id) == 16 and len(self.parent) in (0, 16)
        self.name, self.kind, self.service, self.instance, self.state = span.name, span.kind, service, instance, span.trace_state
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
        self.is_error, self.message = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR, span.status.message

    def __repr__(self):
        return f"{self.service}: {self.name} {self.id} of {self.parent or 'nobody'}, {(self.end - self.start) / 1e6:.3f} ms {self.attributes}"


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """`answer`: a gRPC status to refuse batches with; None takes them. `pair`: a certificate (`certificates.Pair`) to speak TLS with."""

    def __init__(self, port=0, pair=None):
        self.pair = pair
        self.port, self.lock, self.received, self.answer, self.asked, self.server = port, threading.Lock(), [], None, 0, None

    def start(self):
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)
        if self.pair:
            credentials = grpc.ssl_server_credentials([(self.pair.key_pem, self.pair.pem)])
            self.port = self.server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        else:
            self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        assert self.port, "the port is taken"
        self.server.start()
        return self

    def stop(self):
        if self.server:
            self.server.stop(None).wait()
        self.server = None

    @property
    def url(self):
        return f"{'https' if self.pair else 'http'}://127.0.0.1:{self.port}"

    def Export(self, request, context):
        with self.lock:
            self.asked += 1
            answer = self.answer
            if answer is None:
                for process in request.resource_spans:
                    resource = {a.key: a.value.string_value for a in process.resource.attributes}
                    assert resource["service.version"]
                    for scope in process.scope_spans:
                        assert scope.scope.name == "needletail"
                        self.received += [Span(s, resource["service.name"], resource["service.instance.id"]) for s in scope.spans]
        if answer is not None:
            context.abort(answer, "this receiver takes nothing now")
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self, trace=None):
        with self.lock:
            return [s for s in self.received if trace is None or s.trace == trace]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
