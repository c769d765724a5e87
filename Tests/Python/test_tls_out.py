"""TLS of connections out: to a real etcd, to a receiver of traces, and of the load program to a cluster."""

import contextlib
import json
import re
import subprocess

import grpc
import pytest
from certificates import Authority, Security
from harness import BINARIES, Cluster, Etcd, Process, wait_for
from receiver import Receiver


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    """An etcd with an authority of its own, which wants certificates."""
    folder = tmp_path_factory.mktemp("etcd")
    authority = Authority(folder / "tls", "etcd-authority")
    server = Etcd(folder / "etcd", pair=authority.issue("etcd"), authority=authority).start()
    yield server
    server.kill()


def metadata(etcd, authority, pair=None):
    words = ["--metadata", f"etcd://127.0.0.1:{etcd.port}/test", "--admin", "0"]
    words += ["--etcd-authority", str(authority.file)] if authority else []
    return [*words, "--etcd-certificate", str(pair.file), "--etcd-key", str(pair.key_file)] if pair else words


def test_metadata_in_an_etcd_with_mutual_tls(etcd, tmp_path):
    pair = etcd.authority.issue("coordinator", hosts=())
    coordinators = [Process("needletail-coordinator", tmp_path / name, metadata(etcd, etcd.authority, pair)).start() for name in ("a", "b")]
    try:
        shown = subprocess.run([BINARIES / "needletail", "status", "--endpoint", coordinators[1].address], capture_output=True, text=True, timeout=60)
        assert shown.returncode == 0 and all(one.address in shown.stdout for one in coordinators) and "leader" in shown.stdout, shown
        # New certificates for etcd are read, too.
        etcd.authority.issue("coordinator", hosts=())
        wait_for(lambda: "were read again" in coordinators[0].output(), "the new certificate to be read", describe=coordinators[0].output)
    finally:
        for one in coordinators:
            one.stop()


REFUSED = {
    "another authority": (lambda etcd, folder: (Authority(folder, "other"), etcd.authority.issue("c", hosts=())), "none of the authorities"),
    "no certificate": (lambda etcd, folder: (etcd.authority, None), "does not accept our certificate|wants a certificate"),
    "a strange certificate": (lambda etcd, folder: (etcd.authority, Authority(folder, "other").issue("c", hosts=())), "does not accept our certificate|unknown"),
    "no TLS": (lambda etcd, folder: (None, None), "speaks TLS"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_etcd_and_a_coordinator_disagree_about_is_said(etcd, tmp_path, case):
    make, words = REFUSED[case]
    ended = subprocess.run([BINARIES / "needletail-coordinator", "--data", tmp_path / "data", "--listen", "127.0.0.1:0", *metadata(etcd, *make(etcd, tmp_path / "tls"))],
                           capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and re.search(words, ended.stderr) and "etcd does not answer" in ended.stderr, ended


def test_flags_of_etcd_go_together(tmp_path):
    security = Security(tmp_path / "tls")
    pair = security.pairs["coordinator"]
    for flags, words in [(["--etcd-authority", security.nodes.file], "go with --metadata"),
                         (["--metadata", "etcd://127.0.0.1:1", "--etcd-certificate", pair.file, "--etcd-key", pair.key_file], "goes with --etcd-authority"),
                         (["--metadata", "etcd://127.0.0.1:1", "--etcd-authority", security.nodes.file, "--etcd-key", pair.key_file], "go together")]:
        ended = subprocess.run([BINARIES / "needletail-coordinator", "--data", tmp_path / "data", "--listen", "127.0.0.1:0", *map(str, flags)],
                               capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1 and words in ended.stderr, ended


def test_traces_by_tls(tmp_path):
    security = Security(tmp_path / "tls")
    stranger = Authority(tmp_path / "elsewhere", "elsewhere")
    with Receiver(pair=security.nodes.issue("receiver")) as receiver:
        for authority, arrives in [(stranger, False), (security.nodes, True)]:
            flags = ["--otlp", receiver.url, "--otlp-authority", str(authority.file)]
            with Cluster(workers=1, coordinator_arguments=[*flags, "--trace-sample", "1"], worker_arguments=flags) as cluster:
                cluster.status()
                if arrives:
                    wait_for(receiver.spans, "spans to arrive")
            # What is left was to be sent at the end.
            assert bool(receiver.spans()) == arrives
    refused = subprocess.run([BINARIES / "needletail-coordinator", "--data", tmp_path / "data", "--listen", "127.0.0.1:0", "--otlp", "http://127.0.0.1:1",
                              "--otlp-authority", security.nodes.file], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "https://" in refused.stderr, refused


def write_scenario(folder, cluster):
    scenario = folder / "scenario.yaml"
    scenario.write_text(json.dumps({
        "name": "encrypted", "target": {"endpoints": f"https://{cluster.coordinator.address}"}, "data": {"points": 500, "dimensions": 8, "queries": 10},
        "phases": [{"name": "one", "seconds": 1, "rate": 50}]}))
    return scenario


def load(scenario, out, *words):
    return subprocess.run([BINARIES / "needletail-load", "run", scenario, "--out", out, *words], capture_output=True, text=True, timeout=100)


@contextlib.contextmanager
def load_process(folder, *flags):
    """The address of one that waits for a conductor."""
    port_file = folder / "port"
    agent = subprocess.Popen([BINARIES / "needletail-load", "agent", "--listen", "127.0.0.1:0", "--port-file", port_file, *flags])
    try:
        wait_for(lambda: port_file.exists() and port_file.read_text().endswith("\n"), "the load process listening")
        yield f"127.0.0.1:{port_file.read_text().strip()}"
    finally:
        agent.terminate()
        assert agent.wait(30) == 0


@pytest.mark.parametrize("agent", ["none", "plain", "with TLS"])
def test_load_by_tls(tmp_path, agent):
    security = Security(tmp_path / "tls")
    flags = ["--tls-authority", str(security.nodes.file), "--tls-certificate", str(security.user.file), "--tls-key", str(security.user.key_file)]
    with Cluster(workers=1, security=security) as cluster, contextlib.ExitStack() as stack:
        scenario, words = write_scenario(tmp_path, cluster), []
        if agent == "plain":
            words = ["--agents", stack.enter_context(load_process(tmp_path, *flags))]
        if agent == "with TLS":
            own = security.nodes.issue("load-a")
            listen = ["--listen-certificate", own.file, "--listen-key", own.key_file, "--listen-authority", security.users.file]
            address = stack.enter_context(load_process(tmp_path, *listen, *flags))
            words = ["--agents", f"https://{address}"]
        done = load(scenario, tmp_path / "result", *words, *flags)
        assert done.returncode == 0 and "none failed" in done.stdout, done
        bare = load(scenario, tmp_path / "bare")
        assert bare.returncode == 1 and "none of the authorities" in bare.stderr, bare
        if agent != "with TLS":
            return
        plain = load(scenario, tmp_path / "plain", "--agents", address, *flags)
        assert plain.returncode == 1 and f"the load process at {address}: " in plain.stderr and "TLS" in plain.stderr, plain
        # It obeys nobody else: who shows no certificate, or one of another authority.
        stranger = Authority(tmp_path / "elsewhere", "elsewhere").issue("alice", hosts=(), usages=("client",))
        for pair, is_obeyed in [(security.user, True), (None, False), (stranger, False)]:
            with grpc.secure_channel(address, security.credentials(pair)) as channel:
                stop = channel.unary_unary("/needletail.load.v1.Agent/Stop")
                if is_obeyed:
                    assert stop(b"", timeout=20) == b""
                    continue
                with pytest.raises(grpc.RpcError) as refusal:
                    stop(b"", timeout=20)
                assert refusal.value.code() == grpc.StatusCode.UNAVAILABLE, refusal.value


@pytest.mark.parametrize("flags, words", [
    (["--listen-key", "a.key"], "go together"), (["--listen-certificate", "a.pem", "--listen-key", "a.key", "--listen-authority", "b.pem"], "cannot be read"),
    (["--insecure", "--listen-certificate", "a.pem", "--listen-key", "a.key", "--listen-authority", "b.pem"], "leave --insecure out")])
def test_flags_of_a_load_process_that_do_not_go(flags, words):
    refused = subprocess.run([BINARIES / "needletail-load", "agent", "--listen", "127.0.0.1:0", *flags], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and words in refused.stderr, refused


def test_a_load_process_listens_for_others_only_when_told(tmp_path):
    refused = subprocess.run([BINARIES / "needletail-load", "agent", "--listen", "0.0.0.0:0"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "--insecure" in refused.stderr, refused
