"""The API over plain HTTP: JSON by the Connect protocol, as `curl` and browsers use it."""

import base64
import http.client
import json
import socket
import struct
import subprocess

import numpy as np
import pytest
from google.protobuf import json_format
from harness import ROOT, wait_for
from needletail.v1 import collections_pb2 as c
from needletail.v1 import points_pb2 as p


def post(cluster, method, body, **headers):
    """Status, headers and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.coordinator.admin_port, timeout=60)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", f"/needletail.v1.{method}", content, {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def call(cluster, method, body, **headers):
    status, _, content = post(cluster, method, body, **headers)
    assert status == 200, content
    return json.loads(content)


def envelopes(content):
    found = []
    while content:
        flags, length = struct.unpack(">BI", content[:5])
        found.append((flags, json.loads(content[5:5 + length])))
        content = content[5 + length:]
    return found


def enveloped(*messages):
    parts = [json.dumps(message).encode() for message in messages]
    return b"".join(struct.pack(">BI", 0, len(part)) + part for part in parts)


@pytest.fixture
def books(cluster):
    call(cluster, "Collections/Create", {"name": "books", "fields": [{"name": "v", "dimensions": 4, "metric": "METRIC_L2"}], "shardCount": 2})
    yield "books"
    call(cluster, "Collections/Delete", {"name": "books"})


def test_a_collection_from_beginning_to_end(cluster, books, rng):
    rows = rng.standard_normal((50, 4)).astype("f4")
    points = [{"id": {"number": str(row)}, "vectors": {"v": {"data": base64.b64encode(rows[row].tobytes()).decode()}}, "payload": {
        "title": {"stringValue": f"t{row}"}}} for row in range(50)]
    assert call(cluster, "Points/Upsert", {"collection": books, "points": points})["applied"] == "50"
    request = {"collection": books, "query": {"vector": {"values": rows[7].tolist()}, "limit": 3, "exact": True, "parts": {"payload": True}},
               "read": {"consistency": "READ_CONSISTENCY_PRIMARY"}}
    answer = call(cluster, "Points/Search", request)
    best = answer["points"][0]
    assert best["id"] == {"number": "7"} and best["payload"] == {"title": {"stringValue": "t7"}} and answer["coverage"]["shardsAnswered"] == 2
    # The same as over gRPC, field for field.
    other = json_format.MessageToDict(cluster.points.Search(json_format.ParseDict(request, p.SearchRequest()), timeout=10))
    for side in (answer, other):
        del side["coverage"]["session"]
    assert answer == other
    # Whoever has the messages needs no JSON.
    status, headers, content = post(cluster, "Collections/Get", c.GetCollectionRequest(name=books).SerializeToString(), content_type="application/proto")
    assert status == 200 and headers["content-type"] == "application/proto" and c.Collection.FromString(content).shard_count == 2


def test_streams(cluster, books):
    batches = [{"collection": books, "packed": {"ids": [str(batch * 10 + row) for row in range(10)], "vectors": base64.b64encode(
        np.full((10, 4), batch, "f4").tobytes()).decode()}} for batch in range(5)]
    status, _, content = post(cluster, "Points/UpsertStream", enveloped(*batches), content_type="application/connect+json")
    assert status == 200 and envelopes(content)[0][1]["applied"] == "50" and envelopes(content)[-1] == (2, {})
    scroll = enveloped({"collection": books, "page": 7, "read": {"consistency": "READ_CONSISTENCY_PRIMARY"}})
    status, headers, content = post(cluster, "Points/Scroll", scroll, content_type="application/connect+json")
    pages = envelopes(content)
    assert status == 200 and headers["content-type"] == "application/connect+json" and pages[-1] == (2, {}) and len(pages) > 5
    assert [int(point["id"].get("number", 0)) for _, page in pages[:-1] for point in page["points"]] == list(range(50))
    status, _, content = post(cluster, "Points/Scroll", enveloped({"collection": "nowhere"}), content_type="application/connect+json")
    (flags, end), = envelopes(content)
    assert status == 200 and flags == 2 and end["error"]["code"] == "not_found"
    for broken in (b"\0\0\0", enveloped(), enveloped({}, {}), b"\1\0\0\0\2{}", enveloped({"colection": "x"})):
        status, _, content = post(cluster, "Points/Scroll", broken, content_type="application/connect+json")
        assert status == 200 and envelopes(content)[-1][1]["error"]["code"] in ("invalid_argument", "unimplemented")


@pytest.mark.parametrize("method,body,headers,status,code,says", [
    ("Points/Count", {"collection": "nowhere"}, {}, 404, "not_found", "collection list"),
    ("Points/Count", {"colection": "x"}, {}, 400, "invalid_argument", 'there is no field "colection"'),
    ("Points/Count", b"{", {}, 400, "invalid_argument", "not valid JSON"),
    ("Points/Count", b"\xff\x00", {}, 400, "invalid_argument", "object"),
    ("Points/Search", {"collection": "x", "query": {"limit": -1}}, {}, 400, "invalid_argument", "query.limit"),
    ("Points/Nothing", {}, {}, 501, "unimplemented", "no method"),
    ("Points/Count", {}, {"connect_timeout_ms": "soon"}, 400, "invalid_argument", "ten digits"),
    ("Points/Count", {}, {"content_encoding": "gzip"}, 501, "unimplemented", "gzip"),
])
def test_errors_have_the_protocols_codes(cluster, method, body, headers, status, code, says):
    found, answered, content = post(cluster, method, body, **headers)
    error = json.loads(content)
    assert found == status and answered["content-type"] == "application/json" and error["code"] == code and says in error["message"], error


def test_what_is_no_request_of_the_protocol_is_told_so(cluster):
    assert post(cluster, "Points/Count", {}, content_type="text/xml")[0] == 415
    assert post(cluster, "Points/Scroll", {})[0] == 415
    assert post(cluster, "Points/Count", {}, content_type="application/connect+json")[0] == 415
    connection = http.client.HTTPConnection("127.0.0.1", cluster.coordinator.admin_port, timeout=60)
    connection.request("GET", "/needletail.v1.Points/Count")
    assert connection.getresponse().status in (404, 405)
    # What members of the cluster tell each other is not for everybody.
    connection = http.client.HTTPConnection("127.0.0.1", cluster.coordinator.admin_port, timeout=60)
    connection.request("POST", "/needletail.internal.v1.Membership/Heartbeat", "{}", {"content-type": "application/json"})
    assert connection.getresponse().status == 501


def request_head(length):
    return f"POST /needletail.v1.Cluster/Status HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n".encode()


def test_bodies_do_not_take_all_memory(cluster):
    length = 60 << 20
    connections = [socket.create_connection(("127.0.0.1", cluster.coordinator.admin_port), timeout=30) for _ in range(5)]
    try:
        for connection in connections:
            connection.sendall(request_head(length))
            # All but the last byte; when it is refused the rest goes nowhere.
            connection.sendall(b" " * (length - 1))
        connections[-1].settimeout(30)
        answers = [connections[-1].recv(4096)]
        assert answers[0].startswith(b"HTTP/1.1 429") and b"resource_exhausted" in answers[0] + connections[-1].recv(4096)
    finally:
        for connection in connections:
            connection.close()
    # What was held is free again.
    def is_answered():
        with socket.create_connection(("127.0.0.1", cluster.coordinator.admin_port), timeout=30) as connection:
            connection.sendall(request_head(length) + b"{}" + b" " * (length - 2))
            return connection.recv(100).startswith(b"HTTP/1.1 200")

    wait_for(is_answered, "room for bodies again")


def test_who_falls_silent_in_the_middle_of_a_request_is_sent_away(cluster):
    connections = []
    for beginning in (b"P", b"POST /needletail.v1.Cluster/Status HTTP/1.1\r\nhost: x", request_head(10) + b"{", b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"):
        connections.append(socket.create_connection(("127.0.0.1", cluster.coordinator.admin_port), timeout=100))
        connections[-1].sendall(beginning)
    for connection in connections:
        while connection.recv(1 << 16):
            pass
        connection.close()


def test_the_commands_of_the_guide(cluster):
    text = (ROOT / "Docs" / "api.md").read_text().split("## Over plain HTTP")[1]
    script = text.split("```")[1].replace("localhost:7461", f"127.0.0.1:{cluster.coordinator.admin_port}")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert '"stringValue":"red"' in done.stdout, done.stdout
    call(cluster, "Collections/Delete", {"name": "colours"})


def test_an_empty_body_is_an_empty_message_for_curl(cluster):
    url = f"http://127.0.0.1:{cluster.coordinator.admin_port}/needletail.v1.Cluster/Status"
    done = subprocess.run(["curl", "-s", "-X", "POST", "-H", "content-type: application/json", url], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and json.loads(done.stdout)["nodesAlive"] == 2, done


def test_a_deadline_is_kept(cluster, books):
    status, _, content = post(cluster, "Points/Count", {"collection": books}, connect_timeout_ms="0")
    assert status == 504 and json.loads(content)["code"] == "deadline_exceeded"
