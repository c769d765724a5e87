"""Every process of a cluster is restarted, one after the other, as an upgrade does it, with the same version or the next: no request fails."""

import json
import os
import pathlib
import shutil
import tempfile
from types import SimpleNamespace

import grpc
import pytest
from harness import BINARIES, Etcd, Process, wait_for
from needletail.v1 import points_pb2_grpc
from test_coordinators import Door
from test_moves import PRIMARY, Traffic, create, nearest, nodes, rows, shards, write

# As the operations guide has it: all coordinators, and a retry of what a server that goes down did not take.
RETRY = json.dumps({
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{"name": [{"service": "needletail.v1.Points"}], "retryPolicy": {
        "maxAttempts": 5, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}],
})


# Executables of the version before this one; see `make upgrade`.
PREVIOUS = os.environ.get("NEEDLETAIL_PREVIOUS_BIN")


@pytest.mark.parametrize("before", [BINARIES, pytest.param(PREVIOUS, marks=pytest.mark.skipif(not PREVIOUS, reason="NEEDLETAIL_PREVIOUS_BIN is not set"))],
                         ids=["same", "previous"])
def test_a_rolling_restart_fails_no_request(before):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="needletail-test-"))
    etcd = Etcd(folder / "etcd").start()
    doors = [Door(folder / f"coordinator-{number}", etcd, pathlib.Path(before)) for number in range(2)]
    addresses = ",".join(door.address for door in doors)
    workers = [Process("needletail-shard", folder / f"shard-{number}", ["--coordinator", addresses]) for number in range(3)]
    for worker in workers:
        worker.binaries = pathlib.Path(before)
        worker.start()
    everybody = [*workers, *(door.process for door in doors)]
    is_clean = False

    def describe():
        return "\n".join(f"--- {one.executable} {one.address}\n{one.output(1500)}" for one in everybody)

    def is_well():
        try:
            found = shards(doors[0], "rolling")
            return all(r.in_sync for shard in found for r in shard.replicas) and all(
                sum(n.alive for n in nodes(door)) == 3 and door.leader() for door in doors)
        except grpc.RpcError:
            return False

    try:
        wait_for(lambda: all(door.status().nodes_alive == 3 for door in doors) and doors[0].leader(), "everyone", 20, describe)
        create(doors[0], "rolling", replicas=2, shards=3)
        write(doors[0], "rolling", range(3000))
        query = rows([50_000])[0]
        before = nearest(doors[0], "rolling", query, PRIMARY)
        channel = grpc.insecure_channel("ipv4:" + addresses, options=[("grpc.service_config", RETRY)])
        client = SimpleNamespace(points=points_pb2_grpc.PointsStub(channel))
        with Traffic([client], "rolling") as traffic:
            for process in everybody:
                wait_for(is_well, "all replicas in sync", 60, describe)
                count = len(traffic.acknowledged), traffic.reads
                process.stop()
                wait_for(lambda: traffic.reads > count[1] + 20, "reads meanwhile", 30, describe)
                process.binaries = BINARIES
                process.start()
            wait_for(is_well, "all replicas in sync", 60, describe)
        traffic.check(client)
        after = [hit for hit in nearest(client, "rolling", query) if hit[0] < 3000]
        assert after == before[:len(after)]
        channel.close()
        is_clean = True
    finally:
        for process in everybody:
            if process.process.poll() is None:
                process.kill()
        etcd.kill()
        if is_clean:
            shutil.rmtree(folder, ignore_errors=True)
