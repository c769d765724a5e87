"""Starts real Needletail processes on free loopback ports and stops them again."""

import errno
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = pathlib.Path(os.environ.get("NEEDLETAIL_BIN", ROOT / ".build" / "release"))
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def wait_for(condition, what, seconds=30.0, describe=lambda: ""):
    """Polls until `condition()` is true; the test fails with `what`, and what `describe()` says, when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s {describe()}"
        time.sleep(0.01)


class _Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamUnaryClientInterceptor):
    def __init__(self, key):
        self.key = key

    def _call(self, continuation, details, request):
        metadata = [*(details.metadata or ()), ("authorization", f"Bearer {self.key}")]
        return continuation(details._replace(metadata=metadata), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = _call


def with_key(channel, key):
    """The channel, with an API key or a token beside every call."""
    return grpc.intercept_channel(channel, _Bearer(key)) if key else channel


class Process:
    """One executable with a data folder of its own, which survives restarts."""

    def __init__(self, executable, folder, arguments, host="127.0.0.1", prefix=()):
        """`prefix`: words before the command, which must in the end be the process itself."""
        self.executable, self.folder, self.arguments = executable, pathlib.Path(folder), arguments
        self.host, self.prefix = host, prefix
        self.binaries = BINARIES
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process, self.port, self.stopped = None, 0, False

    def start(self):
        self.stopped = False
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        self.log = open(self.folder / "log", "ab")
        # A restarted process keeps its port, so that nobody has to look for it.
        self.port = self.port or free_ports(1)[0]
        command = [*self.prefix, str(self.binaries / self.executable), *self.arguments, "--data", str(self.folder / "data"),
                   "--listen", f"{self.host}:{self.port}", "--port-file", str(port_file)]
        # Hosts of a test's own network: nobody else is on it.
        if not self.host.startswith("127.") and "--tls-certificate" not in self.arguments:
            command.append("--insecure")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

        def port():
            assert self.process.poll() is None, f"{self.executable} ended: {self.output()}"
            return port_file.read_text().strip() if port_file.exists() else ""

        ports = wait_for(port, f"{self.executable} listening").split()
        self.port, self.admin_port = int(ports[0]), int(ports[1]) if len(ports) > 1 else 0
        return self

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def output(self, limit=4000):
        return (self.folder / "log").read_text(errors="replace")[-limit:]

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Asks it to end; it must do so by itself and cleanly."""
        if self.process is None or self.process.returncode == -signal.SIGKILL or self.stopped:
            return
        assert self.process.poll() is None, f"{self.executable} ended by itself with {self.process.returncode}: {self.output()}"
        self.stopped = True
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.executable} did not stop within 30 s: {self.output()}")
        assert code == 0, f"{self.executable} ended with {code}: {self.output()}"


class Cluster:
    """A coordinator and `workers` shard workers."""

    def __init__(self, workers=1, worker_arguments=(), coordinator_arguments=(), security=None, key=None):
        """`security`: as `certificates.Security`; without it nothing is encrypted. `key`: of the administrator, where the coordinator's arguments ask
        for one."""
        self.folder, self.security = pathlib.Path(tempfile.mkdtemp(prefix="needletail-test-")), security
        if security:
            worker_arguments, coordinator_arguments = [*worker_arguments, *security.flags("shard")], [*coordinator_arguments, *security.flags("coordinator")]
        self.coordinator = Process("needletail-coordinator", self.folder / "coordinator", ["--admin", "0", *coordinator_arguments]).start()
        self.workers = []
        for _ in range(workers):
            self.add_worker(*worker_arguments)
        self.plain_channel = (grpc.secure_channel(self.coordinator.address, security.credentials(), options=UNLIMITED) if security
                              else grpc.insecure_channel(self.coordinator.address, options=UNLIMITED))
        self.channel = with_key(self.plain_channel, key)
        from needletail.v1 import cluster_pb2, cluster_pb2_grpc, collections_pb2_grpc, points_pb2_grpc

        self.collections = collections_pb2_grpc.CollectionsStub(self.channel)
        self.points = points_pb2_grpc.PointsStub(self.channel)
        self.cluster = cluster_pb2_grpc.ClusterStub(self.channel)
        self._status = cluster_pb2.ClusterStatusRequest()
        wait_for(lambda: self.status().nodes_alive == workers, "all workers registering")

    def add_worker(self, *arguments):
        folder = self.folder / f"shard-{len(self.workers)}"
        self.workers.append(Process("needletail-shard", folder, ["--coordinator", self.coordinator.address, *arguments]).start())
        return self.workers[-1]

    def status(self):
        return self.cluster.Status(self._status, timeout=10)

    def wait_until_ready(self):
        wait_for(lambda: (lambda s: s.shards_ready == s.shards_total)(self.status()), "all shards serving", 60)

    def describe(self):
        """What a failed test should show: the cluster's own account, and the ends of its logs."""
        command = [str(BINARIES / "needletail"), "status", "--endpoint", self.coordinator.address]
        if self.security:
            command += ["--tls-authority", str(self.security.nodes.file)]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=30)
        logs = [f"--- {process.executable} {process.address}\n{process.output(1500)}" for process in [self.coordinator, *self.workers]]
        return "\n".join(["", shown.stdout + shown.stderr, *logs])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.plain_channel.close()
        processes = [*self.workers, self.coordinator]
        is_clean = False
        try:
            for process in processes:
                process.stop()
            is_clean = kind is None
        finally:
            for process in processes:
                if process.process.poll() is None:
                    process.kill()
            if is_clean:
                shutil.rmtree(self.folder, ignore_errors=True)
            else:
                print(f"logs are in {self.folder}")


def free_ports(count):
    """Ports that nobody has at the moment; all are held at once, so that no two are the same.

    Below those that the system gives to outgoing connections: between two lives of a server one of these would take its port."""
    end = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    begin = max(1024, end // 2)
    assert end - begin > 1000, f"outgoing connections may take nearly all ports here: net.ipv4.ip_local_port_range begins at {end}"
    sockets = []
    try:
        while len(sockets) < count:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", random.randrange(begin, end)))
                sockets.append(one)
            except OSError as error:
                one.close()
                if error.errno != errno.EADDRINUSE:
                    raise
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Etcd:
    """A real etcd of one member, with a data folder that survives restarts. With `pair` and `authority` (of `certificates`) it speaks TLS, and to those
    only who show a certificate of that authority."""

    def __init__(self, folder, host="127.0.0.1", prefix=(), pair=None, authority=None):
        self.folder, self.host, self.prefix = pathlib.Path(folder), host, prefix
        self.pair, self.authority = pair, authority
        self.folder.mkdir(parents=True)
        self.port, self.peer_port = free_ports(2)
        self.process = None

    def start(self):
        client, peer = f"{'https' if self.pair else 'http'}://{self.host}:{self.port}", f"http://{self.host}:{self.peer_port}"
        encryption = ["--cert-file", str(self.pair.file), "--key-file", str(self.pair.key_file), "--trusted-ca-file", str(self.authority.file),
                      "--client-cert-auth"] if self.pair else []
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, "/usr/bin/etcd", "--name", "m", "--data-dir", str(self.folder / "data"), *encryption, "--listen-client-urls", client,
                 "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", f"m={peer}", "--logger", "zap", "--log-level", "warn"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self.answers, "etcd answering")
        return self

    def answers(self):
        try:
            context = None
            if self.pair:
                context = ssl.create_default_context(cafile=self.authority.file)
                context.load_cert_chain(self.pair.file, self.pair.key_file)
            with urllib.request.urlopen(f"{'https' if self.pair else 'http'}://{self.host}:{self.port}/health", timeout=1, context=context) as answer:
                return b"true" in answer.read()
        except OSError:
            return False

    def ask(self, method, request):
        """By etcd's own JSON gateway; keys and values are in base64."""
        body = json.dumps(request).encode()
        with urllib.request.urlopen(f"http://{self.host}:{self.port}/v3/{method}", body, timeout=10) as answer:
            return json.load(answer)

    def output(self, limit=4000):
        return (self.folder / "log").read_text(errors="replace")[-limit:]

    def kill(self):
        self.process.kill()
        self.process.wait()
