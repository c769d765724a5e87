"""Traces from a client's `traceparent` to the log of a backup, as a receiver of OpenTelemetry's protocol gets them."""

import itertools
import secrets
import signal

import grpc
import numpy as np
import pytest
from needletail.v1 import cluster_pb2
from needletail.v1 import collections_pb2 as c
from needletail.v1 import common_pb2 as common
from needletail.v1 import points_pb2 as p

from harness import Cluster, wait_for
from receiver import CLIENT, CONSUMER, INTERNAL, PRODUCER, SERVER, Receiver
from test_metrics import scrape, total

DIMENSIONS = 16


@pytest.fixture(scope="module")
def traced():
    """Nothing is traced that its caller has not sampled."""
    with Receiver() as receiver:
        arguments = ["--otlp", receiver.url]
        with Cluster(workers=2, worker_arguments=["--admin", "0", *arguments], coordinator_arguments=[*arguments, "--trace-sample", "0"]) as running:
            running.receiver = receiver
            running.collections.Create(c.CreateCollectionRequest(
                name="t", shard_count=2, replication_factor=2,
                fields=[c.VectorField(name="v", dimensions=DIMENSIONS, metric=c.METRIC_L2)]), timeout=20)
            running.wait_until_ready()
            yield running


class Trace:
    """One that a client begins."""

    def __init__(self, sampled=True, state=None):
        self.id, self.span = secrets.token_hex(16), secrets.token_hex(8)
        self.metadata = [("traceparent", f"00-{self.id}-{self.span}-{'01' if sampled else '00'}")]
        if state:
            self.metadata.append(("tracestate", state))


def upsert(cluster, count, metadata=()):
    vectors = np.random.default_rng(count).standard_normal((count, DIMENSIONS)).astype("f4")
    request = p.UpsertRequest(collection="t", packed=p.PackedPoints(ids=range(count), vectors=vectors.tobytes()))
    return cluster.points.Upsert.with_call(request, timeout=20, metadata=metadata)[1]


def search(cluster, metadata=(), **options):
    query = p.Query(vector=common.Vector(data=np.ones(DIMENSIONS, dtype="f4").tobytes()), limit=5, **options)
    return cluster.points.Search.with_call(p.SearchRequest(collection="t", query=query), timeout=20, metadata=metadata)[1]


def tree(cluster, trace, is_whole):
    """The spans of a trace, once `is_whole` of them; checks that they are one tree whose times make sense."""
    def arrived():
        spans = cluster.receiver.spans(trace.id)
        return spans if is_whole(spans) else None

    spans = wait_for(arrived, "the whole trace", 20, lambda: "\n".join(map(repr, cluster.receiver.spans(trace.id))))
    by_id = {s.id: s for s in spans}
    assert len(by_id) == len(spans)
    for span in spans:
        assert span.start <= span.end and span.end - span.start < 20e9
        if span.parent != trace.span:
            parent = by_id[span.parent]
            # One machine, one clock; but each process reads it for itself.
            assert parent.start - 1e6 <= span.start, (parent, span)
    return spans


def named(spans, name, **of):
    return [s for s in spans if s.name == name and all(getattr(s, k) == v for k, v in of.items())]


SEARCH = "needletail.internal.v1.ShardWorker/Search"
WRITE = "needletail.internal.v1.ShardWorker/Write"


def test_search_is_one_tree_over_all_processes(traced):
    upsert(traced, 500)
    trace = Trace(state="vendor=value")
    search(traced, trace.metadata, parts=p.PointParts(payload=True))

    def whole(spans):
        return named(spans, "needletail.v1.Points/Search") and len(named(spans, "search shard")) >= 2 and named(spans, "fetch")

    spans = tree(traced, trace, whole)
    [root] = named(spans, "needletail.v1.Points/Search")
    assert root.parent == trace.span and root.kind == SERVER and root.service == "needletail-coordinator" and root.state == "vendor=value"
    assert root.attributes["rpc.system"] == "grpc" and root.attributes["rpc.grpc.status_code"] == 0 and not root.is_error
    assert root.attributes["rpc.service"] == "needletail.v1.Points" and root.attributes["rpc.method"] == "Search"
    for stage in ["plan", "merge"]:
        [span] = named(spans, stage, service="needletail-coordinator")
        assert span.parent == root.id and span.kind == INTERNAL
    calls = named(spans, SEARCH, kind=CLIENT)
    assert calls and all(s.parent == root.id and s.attributes["needletail.node"] for s in calls)
    served = named(spans, SEARCH, kind=SERVER)
    assert {s.parent for s in served} <= {s.id for s in calls} and all(s.service == "needletail-shard" for s in served)
    shards = named(spans, "search shard")
    assert {s.attributes["needletail.shard"] for s in shards} == {0, 1}
    for shard in shards:
        assert shard.parent in {s.id for s in served} and shard.attributes["needletail.hops"] > 0
        parts = [s for s in spans if s.parent == shard.id]
        assert {s.name for s in parts} >= {"wait for a thread", "walk"}
        assert sum(s.end - s.start for s in parts) <= shard.end - shard.start + 1e6


def test_searches_that_share_a_call_are_traced_each(traced):
    """Traced searches travel as others do: those that come at once together."""
    upsert(traced, 500)
    request = p.SearchRequest(collection="t", query=p.Query(vector=common.Vector(data=np.ones(DIMENSIONS, dtype="f4").tobytes()), limit=5))
    shared = []
    for _ in range(50):
        traces = [Trace(state="vendor=value") for _ in range(32)]
        for call in [traced.points.Search.future(request, timeout=20, metadata=trace.metadata) for trace in traces]:
            call.result()
        for trace in traces:
            spans = tree(traced, trace, lambda spans: named(spans, "needletail.v1.Points/Search") and len(named(spans, "search shard")) >= 2)
            calls = {s.id: s for s in named(spans, "needletail.internal.v1.ShardWorker/SearchEach", kind=CLIENT)}
            [root] = named(spans, "needletail.v1.Points/Search")
            for served in named(spans, "search among others"):
                call = calls[served.parent]
                if "needletail.abandoned" in call.attributes:
                    continue  # A hedge, or what it was a hedge for.
                assert call.parent == root.id and call.attributes["needletail.searches"] >= 2 and call.attributes["needletail.node"]
                assert call.attributes["rpc.grpc.status_code"] == 0 and served.kind == SERVER and served.service == "needletail-shard"
                assert served.state == "vendor=value" and [s.name for s in spans if s.parent == served.id].count("search shard") >= 1
                shared.append(served)
        if shared:
            break
    assert shared, "no two of 1600 searches shared a call"


def test_write_reaches_the_logs_of_backups(traced):
    trace = Trace()
    upsert(traced, 300, trace.metadata)
    spans = tree(traced, trace, lambda spans: len(named(spans, "log on a backup")) == 2 and len(named(spans, "replicate")) == 2
                 and named(spans, "needletail.v1.Points/Upsert"))
    writes = named(spans, WRITE, kind=SERVER)
    assert len(writes) == 2
    for write in writes:
        parts = {s.name: s for s in spans if s.parent == write.id}
        assert {"decode", "append", "fsync", "replicate", "apply"} <= parts.keys()
        assert parts["replicate"].kind == PRODUCER
        [backup] = [s for s in spans if s.parent == parts["replicate"].id]
        assert backup.name == "log on a backup" and backup.kind == CONSUMER and backup.instance != write.instance
        assert {"append", "fsync"} <= {s.name for s in spans if s.parent == backup.id}


def test_nobody_records_what_the_caller_does_not_want(traced):
    unwanted, without, wanted = Trace(sampled=False), secrets.token_hex(4), Trace()
    search(traced, unwanted.metadata)
    search(traced, [("x-request-id", without)])
    search(traced, [("traceparent", "00-" + "0" * 32 + "-" + "1" * 16 + "-01"), ("x-request-id", without)])
    search(traced, wanted.metadata)
    tree(traced, wanted, lambda spans: len(named(spans, "search shard")) >= 2)
    assert not traced.receiver.spans(unwanted.id)
    assert not [s for s in traced.receiver.spans() if s.attributes.get("needletail.request_id") == without]


def test_errors_have_the_status_that_the_conventions_say(traced):
    trace = Trace()
    with pytest.raises(grpc.RpcError) as raised:
        traced.points.Count(p.CountRequest(collection="nothing"), timeout=10, metadata=trace.metadata)
    assert dict(raised.value.trailing_metadata())["x-request-id"]
    [span] = tree(traced, trace, lambda spans: named(spans, "needletail.v1.Points/Count"))
    # The caller's mistake is no error of the server's.
    assert span.attributes["rpc.grpc.status_code"] == 5 and not span.is_error


def test_requests_have_names(traced):
    assert dict(search(traced, [("x-request-id", "order-66")]).trailing_metadata())["x-request-id"] == "order-66"
    made = {dict(search(traced).trailing_metadata())["x-request-id"] for _ in range(20)}
    assert len(made) == 20 and all(len(name) == 12 for name in made)


def spans_total(cluster, result):
    """Of the coordinator."""
    return total(scrape(cluster.coordinator), "needletail_trace_spans_total", result=result)


def test_spans_wait_for_a_receiver_that_is_away(traced):
    traced.receiver.stop()
    trace = Trace()
    search(traced, trace.metadata)
    search(traced)
    traced.receiver.start()
    tree(traced, trace, lambda spans: named(spans, "needletail.v1.Points/Search") and len(named(spans, "search shard")) >= 2)


def test_errors_of_the_receiver_are_dealt_with(traced):
    receiver, refused = traced.receiver, spans_total(traced, "refused")
    try:
        receiver.answer = grpc.StatusCode.UNAVAILABLE
        late, asked = Trace(), receiver.asked
        search(traced, late.metadata)
        wait_for(lambda: receiver.asked > asked, "an attempt to send", 20)
        receiver.answer = None
        tree(traced, late, lambda spans: named(spans, "needletail.v1.Points/Search"))
        receiver.answer = grpc.StatusCode.INVALID_ARGUMENT
        lost = Trace()
        search(traced, lost.metadata)
        wait_for(lambda: spans_total(traced, "refused") > refused, "refused spans in the metrics", 20)
    finally:
        receiver.answer = None
    after = Trace()
    search(traced, after.metadata)
    tree(traced, after, lambda spans: named(spans, "needletail.v1.Points/Search"))
    assert not named(receiver.spans(lost.id), "needletail.v1.Points/Search") and spans_total(traced, "exported") > 0


def test_last_spans_are_sent_at_the_end():
    with Receiver() as receiver, Cluster(workers=1, coordinator_arguments=["--otlp", receiver.url, "--trace-sample", "1"]) as cluster:
        cluster.collections.List(c.ListCollectionsRequest(), timeout=10)
        cluster.channel.close()
        cluster.coordinator.stop()
        assert named(receiver.spans(), "needletail.v1.Collections/List")


def test_attempts_that_lose_are_marked(traced):
    for _ in range(80):
        search(traced)
    trace, turns = Trace(), itertools.cycle(traced.workers)

    def hedged():
        """Stops one worker after the other, until it is one that is asked."""
        slow = next(turns).process
        won = total(scrape(traced.coordinator), "needletail_hedged_requests_won_total")
        slow.send_signal(signal.SIGSTOP)
        try:
            for _ in range(10):
                search(traced, trace.metadata)
        finally:
            slow.send_signal(signal.SIGCONT)
        return total(scrape(traced.coordinator), "needletail_hedged_requests_won_total") > won

    wait_for(hedged, "a hedge that wins", 60)
    wait_for(lambda: [s for s in traced.receiver.spans(trace.id) if s.attributes.get("needletail.hedge")], "its span", 20)
    [hedge, *_] = [s for s in traced.receiver.spans(trace.id) if s.attributes.get("needletail.hedge")]
    loser = wait_for(lambda: [s for s in traced.receiver.spans(trace.id) if s.parent == hedge.parent and s.attributes.get("needletail.abandoned")],
                     "the attempt that lost", 10)[0]
    assert not loser.attributes["needletail.hedge"] and loser.attributes["needletail.node"] != hedge.attributes["needletail.node"]
    assert loser.attributes["rpc.grpc.status_code"] == 1 and hedge.attributes["rpc.grpc.status_code"] == 0 and not hedge.is_error


def test_a_move_has_a_trace_of_its_own(traced):
    traced.add_worker("--otlp", traced.receiver.url, "--admin", "0")
    wait_for(lambda: traced.status().nodes_alive == 3, "another worker", 20)
    nodes = {n.address: n.id for n in traced.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=10).nodes}
    order = {"from": nodes[traced.workers[1].address], "to": nodes[traced.workers[2].address]}
    begun = traced.cluster.Move(cluster_pb2.MoveRequest(collection="t", shard=0, **order), timeout=10)
    # The cluster's id and the operation's.
    trace = traced.status().cluster_id + begun.id
    [root] = wait_for(lambda: named(traced.receiver.spans(trace), "move"), "the move's end in its trace", 60, traced.describe)
    spans = traced.receiver.spans(trace)
    assert root.id == begun.id and not root.parent and root.attributes["needletail.outcome"] == "done" and root.attributes["needletail.to"] == order["to"]
    steps = [s for s in spans if s.parent == root.id]
    assert {"move: adding", "move: catching up", "move: dropping"} <= {s.name for s in steps}
    assert all(root.start - 5e6 <= s.start <= s.end for s in steps)

    def dropped():
        """As the leader and the worker tell it, who send their spans apart."""
        return {s.kind for s in traced.receiver.spans(trace) if s.name.endswith("/DropReplica")} == {CLIENT, SERVER}

    wait_for(dropped, "the removal of the old replica's files in the trace", 20)
