"""A cluster on hosts of its own, and the faults that befall it. Whatever happens to the test, nothing of them stays behind.

A host is a network namespace joined to the others by a bridge, where we may make some; otherwise all processes share the loopback, and there
are only the faults that signals make. Processes end when the thread ends that started them, so only the test's own thread starts any.
"""

import atexit
import collections
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import time

import grpc
from harness import Etcd, Process, wait_for
from needletail.internal.v1 import shard_pb2_grpc
from needletail.v1 import cluster_pb2, cluster_pb2_grpc, collections_pb2_grpc, points_pb2_grpc

CHANNEL = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1),
           ("grpc.max_reconnect_backoff_ms", 500), ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.enable_http_proxy", 0)]
TIED = ["setpriv", "--pdeathsig", "KILL"]


class Stubs:
    """A channel of its own to one process."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=CHANNEL)
        self.collections = collections_pb2_grpc.CollectionsStub(self.channel)
        self.points = points_pb2_grpc.PointsStub(self.channel)
        self.cluster = cluster_pb2_grpc.ClusterStub(self.channel)
        self.worker = shard_pb2_grpc.ShardWorkerStub(self.channel)


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.returncode == 0


class Network:
    """Namespaces `PREFIX-0` … on a bridge, which has the first address itself: so the test reaches them all."""

    @staticmethod
    def create(count):
        """nil where the machine does not let us."""
        if os.geteuid() != 0 or not shutil.which("ip"):
            return None
        try:
            return Network(count)
        except AssertionError as error:
            print(f"no network namespaces: {error}")
            return None

    def __init__(self, count):
        self.sweep()
        # Interfaces' names have at most 15 characters.
        self.prefix = f"nt{os.getpid()}"
        self.subnet = f"10.{199 + os.getpid() % 50}.{os.getpid() // 50 % 250}"
        self.count, self.delayed = count, set()
        atexit.register(self.close)
        try:
            run("ip", "link", "add", self.bridge, "type", "bridge")
            run("ip", "address", "add", f"{self.subnet}.254/24", "dev", self.bridge)
            run("ip", "link", "set", self.bridge, "up")
            for number in range(count):
                self._join(number)
        except AssertionError:
            self.close()
            raise
        self.has_netem = run("tc", "qdisc", "add", "dev", self.link(0), "root", "netem", "delay", "1ms", check=False)
        run("tc", "qdisc", "del", "dev", self.link(0), "root", check=False)

    def _join(self, number):
        name, inside = self.name(number), f"{self.prefix}i{number}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", self.link(number), "type", "veth", "peer", "name", inside)
        run("ip", "link", "set", inside, "netns", name)
        run("ip", "link", "set", self.link(number), "master", self.bridge, "up")
        run("ip", "-n", name, "address", "add", f"{self.address(number)}/24", "dev", inside)
        run("ip", "-n", name, "link", "set", inside, "up")
        run("ip", "-n", name, "link", "set", "lo", "up")

    @staticmethod
    def sweep():
        """Takes away what a run left that was killed with SIGKILL."""
        names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.split()
        for name in names:
            owner = name.split("-")[0][2:]
            if name.startswith("nt") and "-" in name and owner.isdigit() and not pathlib.Path(f"/proc/{owner}").exists():
                run("ip", "netns", "del", name, check=False)
                run("ip", "link", "del", f"nt{owner}b", check=False)

    bridge = property(lambda self: f"{self.prefix}b")

    def name(self, number):
        return f"{self.prefix}-{number}"

    def link(self, number):
        return f"{self.prefix}o{number}"

    def address(self, number):
        return f"{self.subnet}.{number + 1}"

    def cut(self, source, target):
        """What `source` sends to `target` is lost from now on; the other way goes on."""
        run("ip", "-n", self.name(source), "route", "replace", "blackhole", f"{self.address(target)}/32")

    def slow(self, number, milliseconds, loss_percent):
        """Delays and loses what comes to the host. Without netem: a line so thin that a queue builds up, and drops what is too much."""
        kind = ["netem", "delay", f"{milliseconds}ms", "loss", f"{loss_percent}%"] if self.has_netem else \
            ["tbf", "rate", "400kbit", "burst", "8kb", "latency", f"{milliseconds}ms"]
        run("tc", "qdisc", "replace", "dev", self.link(number), "root", *kind)
        self.delayed.add(number)

    def heal(self):
        for number in range(self.count):
            run("ip", "-n", self.name(number), "route", "flush", "type", "blackhole", check=False)
        for number in self.delayed:
            run("tc", "qdisc", "del", "dev", self.link(number), "root", check=False)
        self.delayed.clear()

    def close(self):
        atexit.unregister(self.close)
        for number in range(self.count):
            run("ip", "netns", "del", self.name(number), check=False)
            run("ip", "link", "del", self.link(number), check=False)
        run("ip", "link", "del", self.bridge, check=False)


class Shim:
    """What is preloaded into a process so that syncs of its logs fail, and its wall clock is wrong."""

    def __init__(self, library, control):
        self.control = control
        control.write_bytes(bytes(16))
        self.prefix = ["env", f"LD_PRELOAD={library}", f"NEEDLETAIL_FAULTS={control}"]

    @staticmethod
    def compile(folder):
        """None where there is no compiler."""
        if not shutil.which("cc"):
            print("no C compiler: no failing syncs, no steps of clocks")
            return None
        library = folder / "faults.so"
        run("cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(pathlib.Path(__file__).parent / "faults.c"), "-ldl")
        return library

    def set(self, syncs_fail=False, clock_seconds=0):
        """In place: the process has the file mapped."""
        with open(self.control, "r+b") as file:
            file.write(struct.pack("<qq", syncs_fail, clock_seconds))


class SmallDisk:
    """A file system in memory, mounted on a folder, that can be filled up."""

    def __init__(self, folder, mebibytes):
        self.folder = folder
        folder.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", f"nt{os.getpid()}", str(folder))
        atexit.register(self.close)

    @staticmethod
    def sweep():
        """Unmounts what a run left that was killed with SIGKILL."""
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            source, folder = line.split()[:2]
            if "/needletail-chaos-" in folder and source.startswith("nt") and source[2:].isdigit() and not pathlib.Path(f"/proc/{source[2:]}").exists():
                run("umount", "--lazy", folder, check=False)

    @property
    def ballast(self):
        return self.folder / "ballast"

    def fill(self):
        with open(self.ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
            except OSError:
                pass

    def heal(self):
        self.ballast.unlink(missing_ok=True)

    def close(self):
        atexit.unregister(self.close)
        run("umount", "--lazy", str(self.folder), check=False)


class Host:
    """One process on a host of its own."""

    def __init__(self, name, number, process, shim=None, disk=None):
        self.name, self.number, self.process, self.shim, self.disk = name, number, process, shim, disk
        self.is_killed = self.is_stopped = self.has_failed_syncs = False

    def __str__(self):
        return self.name

    @property
    def child(self):
        return self.process.process

    @property
    def address(self):
        return f"{self.process.host}:{self.process.port}"

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.is_killed, self.is_stopped = True, False

    def pause(self):
        self.child.send_signal(signal.SIGSTOP)
        self.is_stopped = True

    def fail_syncs(self):
        self.shim.set(syncs_fail=True)
        self.has_failed_syncs = True

    def fill_disk(self):
        self.disk.fill()

    def heal(self):
        if self.disk:
            self.disk.heal()
        if self.has_failed_syncs:
            self.shim.set()
            self.has_failed_syncs = False
            # After a failed sync nobody knows what is on the disk until the log is read anew.
            if not self.is_killed:
                self.kill()
        if self.is_stopped:
            self.child.send_signal(signal.SIGCONT)
            self.is_stopped = False
        if self.is_killed:
            self.process.start()
            self.is_killed = False

    def is_well(self):
        """Whether it runs as it should; fails when it ended although nobody killed it."""
        assert self.is_killed or self.child.poll() is None, f"{self} ended by itself with {self.child.returncode}: {self.process.output()}"
        return not self.is_killed and not self.is_stopped


class World:
    """An etcd, coordinators and shard workers on hosts of their own."""

    def __init__(self, coordinators=3, workers=4, network=True, faults=True):
        """`network`: hosts are namespaces where that can be; `faults`: workers' disks and clocks can fail."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="needletail-chaos-"))
        self.network = Network.create(1 + coordinators + workers) if network else None
        self.hosts, self.disks = [], []
        try:
            where = self.place(0)
            self.etcd = self.add("etcd", Etcd(self.folder / "etcd", **where))
            metadata = f"etcd://{self.etcd.address}/chaos"
            self.coordinators = [
                self.add(f"coordinator-{n}", Process("needletail-coordinator", self.folder / f"coordinator-{n}", ["--admin", "off", "--metadata", metadata],
                                                     **self.place(1 + n)))
                for n in range(coordinators)]
            doors = [argument for one in self.coordinators for argument in ("--coordinator", one.address)]
            library = Shim.compile(self.folder) if faults else None
            self.workers = [self.worker(n, 1 + coordinators + n, doors, library, faults) for n in range(workers)]
            self.doors = [Stubs(one.address) for one in self.coordinators]
            for door in self.doors:
                wait_for(lambda: self.status(door) and self.status(door).nodes_alive == workers, "everyone knowing everyone", 30, self.describe)
        except BaseException:
            self.close(False)
            raise

    def finished(self):
        """How many moves, splits and merges came to which end."""
        all = self.doors[0].cluster.Operations(cluster_pb2.ListOperationsRequest(), timeout=10).operations
        return collections.Counter(f"{one.kind} {one.step}" for one in all)

    def open_splits(self):
        """Shards that are still being split or merged, as the first coordinator that answers knows; True when none does."""
        for door in self.doors:
            try:
                all = door.cluster.Operations(cluster_pb2.ListOperationsRequest(), timeout=2).operations
                return [one for one in all if one.kind in ("split", "merge") and one.step not in ("done", "cancelled", "failed")]
            except grpc.RpcError:
                continue
        return True

    # Segments so small that a replica that was away for long needs a checkpoint.
    worker_arguments = ["--log-segment", "1", "--search-threads", "1", "--build-threads", "1"]

    def worker(self, number, place, doors, library, faults):
        folder, place, shim, disk = self.folder / f"worker-{number}", self.place(place), None, None
        if library:
            shim = Shim(library, self.folder / f"worker-{number}.faults")
            place["prefix"] = [*place["prefix"], *shim.prefix]
        if faults and number == 0:
            if os.geteuid() == 0:
                SmallDisk.sweep()
                disk = SmallDisk(folder / "data", 256)
                self.disks.append(disk)
            else:
                print("not root: no full disk")
        return self.add(f"worker-{number}", Process("needletail-shard", folder, [*doors, *self.worker_arguments], **place), shim=shim, disk=disk)

    def place(self, number):
        if not self.network:
            return {"prefix": TIED}
        return {"host": self.network.address(number), "prefix": [*TIED, "ip", "netns", "exec", self.network.name(number)]}

    def add(self, name, process, **more):
        host = Host(name, len(self.hosts), process, **more)
        self.hosts.append(host)
        process.start()
        return host

    def status(self, door):
        try:
            return door.cluster.Status(cluster_pb2.ClusterStatusRequest(), timeout=5)
        except grpc.RpcError:
            return None

    def shards(self):
        """As the first coordinator tells that answers."""
        for door in self.doors:
            try:
                return door.cluster.Shards(cluster_pb2.ListShardsRequest(), timeout=1).shards
            except grpc.RpcError:
                continue
        return []

    def node(self, node):
        for door in self.doors:
            try:
                nodes = {one.id: one.address for one in door.cluster.Nodes(cluster_pb2.ListNodesRequest(), timeout=1).nodes}
                return next(one for one in self.workers if one.address == nodes.get(node))
            except (grpc.RpcError, StopIteration):
                continue

    def leader(self):
        for door in self.doors:
            try:
                coordinators = door.cluster.Status(cluster_pb2.ClusterStatusRequest(), timeout=1).coordinators
            except grpc.RpcError:
                continue
            found = [host for host in self.coordinators if any(one.leader and one.address == host.address for one in coordinators)]
            if found:
                return found[0]

    def heal(self):
        if self.network:
            self.network.heal()
        for host in self.hosts:
            host.heal()

    def describe(self):
        shards = [f"{s.collection}/{s.shard} epoch {s.epoch}: " + ", ".join(
            f"{r.node}{' primary' if r.primary else ''}{' in sync' if r.in_sync else ''} state {r.state} {r.reason} at {r.applied_sequence}, {r.points} points"
            for r in s.replicas) for s in self.shards()]
        return "\n".join(["", *shards, *(f"--- {one} {one.address}\n{one.process.output(2500)}" for one in self.hosts)])

    def close(self, is_clean):
        try:
            self.heal()
            if is_clean:
                for host in self.hosts[:0:-1]:
                    host.process.stop()
        finally:
            for host in self.hosts:
                if host.child and host.child.poll() is None:
                    host.kill()
            if self.network:
                self.network.close()
            for disk in self.disks:
                # What is needed to find out what happened stays.
                if not is_clean:
                    shutil.copytree(disk.folder, disk.folder.with_name("data-kept"), dirs_exist_ok=True)
                disk.close()
            if is_clean:
                shutil.rmtree(self.folder, ignore_errors=True)
            else:
                print(f"logs are in {self.folder}")


class Nemesis:
    """Draws faults from a seed. A fault is a function that returns what it did; all are healed by `World.heal`."""

    def __init__(self, world, random):
        self.world, self.random, self.done = world, random, {}
        self.faults = [self.kill_worker, self.kill_primary, self.kill_primary, self.pause_worker, self.pause_primary, self.pause_primary,
                       self.kill_coordinator, self.kill_leader, self.pause_leader, self.pause_coordinator, self.kill_etcd, self.pause_etcd,
                       self.kill_two_workers, self.divide_shard, self.divide_shard, self.join_shards, self.join_shards]
        if world.workers[0].shim:
            self.faults += [self.fail_syncs, self.fail_syncs_of_primary, self.step_clock]
        if world.disks:
            self.faults += [self.fill_disk]
        if world.network:
            self.faults += [self.part_worker, self.part_primary, self.part_primary_from_backups, self.part_primary_with_coordinator,
                            self.part_primary_with_coordinator, self.part_leader, self.part_one_way,
                            self.part_one_way, self.split, self.slow]

        wanted = os.environ.get("NEEDLETAIL_CHAOS_FAULTS", "").split(",")
        if wanted != [""]:
            self.faults = [fault for fault in self.faults if fault.__name__ in wanted]

    def choose(self, hosts):
        hosts = [host for host in hosts if host and host.is_well()]
        return hosts[self.random.integers(len(hosts))] if hosts else None

    def primary(self):
        shards = self.world.shards()
        if not shards:
            return None
        shard = shards[self.random.integers(len(shards))]
        return next((self.world.node(one.node) for one in shard.replicas if one.primary), None)

    def act(self, verb, host):
        if not host or not host.is_well():
            return None
        getattr(host, verb)()
        return f"{verb} {host}"

    def kill_worker(self): return self.act("kill", self.choose(self.world.workers))
    def pause_worker(self): return self.act("pause", self.choose(self.world.workers))
    def kill_primary(self): return self.act("kill", self.primary())
    def pause_primary(self): return self.act("pause", self.primary())
    def kill_coordinator(self): return self.act("kill", self.choose(self.world.coordinators))
    def pause_coordinator(self): return self.act("pause", self.choose(self.world.coordinators))
    def kill_leader(self): return self.act("kill", self.world.leader())
    def pause_leader(self): return self.act("pause", self.world.leader())
    def kill_etcd(self): return self.act("kill", self.world.etcd)
    def pause_etcd(self): return self.act("pause", self.world.etcd)

    def fail_syncs(self): return self.act("fail_syncs", self.choose(self.world.workers))
    def fail_syncs_of_primary(self): return self.act("fail_syncs", self.primary())
    def fill_disk(self): return self.act("fill_disk", next(host for host in self.world.workers if host.disk))

    def step_clock(self):
        """Leases count by the monotonic clock: nothing may come of it. It stays until the next step."""
        host, seconds = self.choose(self.world.workers), int(self.random.choice([-3600, -10, -3, 3, 10, 3600]))
        if not host:
            return None
        host.shim.set(syncs_fail=host.has_failed_syncs, clock_seconds=seconds)
        return f"step the clock of {host} by {seconds} s"

    def kill_two_workers(self):
        return " and ".join(str(self.kill_worker()) for _ in range(2))

    def divide_shard(self):
        """Not a fault, but work that goes on beside the next ones."""
        shards = self.world.shards()
        if not shards or len(shards) > 20:
            return None
        shard = shards[self.random.integers(len(shards))]
        try:
            door = self.world.doors[self.random.integers(len(self.world.doors))]
            door.cluster.Split(cluster_pb2.SplitRequest(collection=shard.collection, shard=shard.shard), timeout=2)
        except grpc.RpcError as error:
            return f"divide {shard.collection}/{shard.shard}: {error.code().name}"
        return f"divide {shard.collection}/{shard.shard}"

    def join_shards(self):
        """As well: two neighbours, most often of one split; two shards of a collection stay."""
        shards = self.world.shards()
        pairs = [(a, b) for a, b in zip(shards or [], (shards or [])[1:]) if a.collection == b.collection
                 and {r.node for r in a.replicas} == {r.node for r in b.replicas} and sum(s.collection == a.collection for s in shards) > 2]
        if not pairs:
            return None
        first, second = pairs[self.random.integers(len(pairs))]
        what = f"join {first.collection}/{first.shard} and {second.shard}"
        try:
            door = self.world.doors[self.random.integers(len(self.world.doors))]
            door.cluster.Merge(cluster_pb2.MergeRequest(collection=first.collection, shard=first.shard, other=second.shard), timeout=2)
        except grpc.RpcError as error:
            return f"{what}: {error.code().name}"
        return what

    def isolate(self, host, others):
        return self.part([host], others) if host else None

    def part(self, hosts, others):
        for host in hosts:
            for other in others:
                self.world.network.cut(host.number, other.number)
                self.world.network.cut(other.number, host.number)
        return f"part {', '.join(map(str, hosts))} from {', '.join(map(str, others))}"

    def others(self, host):
        return [other for other in self.world.hosts if other is not host]

    def part_worker(self):
        host = self.choose(self.world.workers)
        return self.isolate(host, self.others(host))

    def part_primary(self):
        host = self.primary()
        return self.isolate(host, self.others(host))

    def part_primary_from_backups(self):
        host = self.primary()
        return self.isolate(host, [one for one in self.world.workers if one is not host])

    def part_primary_with_coordinator(self):
        """Clients at that coordinator reach the old primary when there is a new one already: only its lease keeps it from answering."""
        primary, leader = self.primary(), self.world.leader()
        coordinator = self.choose([one for one in self.world.coordinators if one is not leader])
        if not primary or not coordinator:
            return None
        side = [primary, coordinator]
        return self.part(side, [other for other in self.world.hosts if other not in side])

    def part_leader(self):
        host = self.world.leader()
        return self.isolate(host, self.others(host))

    def part_one_way(self):
        """What one host sends to some others is lost."""
        host = self.choose(self.world.hosts)
        others = [other for other in self.others(host) if self.random.random() < 0.7]
        for other in others:
            self.world.network.cut(host.number, other.number)
        return f"{host} is not heard by {', '.join(map(str, others))}"

    def split(self):
        """Two halves that do not hear each other."""
        here = [self.random.random() < 0.5 for _ in self.world.hosts]
        return self.part(*([host for host, is_here in zip(self.world.hosts, here) if is_here == wanted] for wanted in (True, False)))

    def slow(self):
        host, delay, loss = self.choose(self.world.hosts), int(self.random.integers(20, 400)), int(self.random.integers(0, 10))
        self.world.network.slow(host.number, delay, loss)
        return f"slow {host} by {delay} ms, losing {loss}%"

    def run(self, seconds, say, check):
        """Faults, one or two at a time, until the time is over; then everything is healed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for _ in range(1 + (self.random.random() < 0.3)):
                fault = self.faults[self.random.integers(len(self.faults))]
                what = fault()
                if what:
                    say(what)
                    self.done[fault.__name__] = self.done.get(fault.__name__, 0) + 1
                if self.random.random() < 0.5:
                    time.sleep(self.random.random() * 0.5)
            self.wait(min(float(self.random.choice([0.3, 1.5, 3, 5, 8])), max(0, until - time.monotonic())), check)
            self.world.heal()
            say("heal")
            self.wait(min(float(self.random.choice([0.2, 1, 3, 6])), max(0, until - time.monotonic())), check)

    def wait(self, seconds, check):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            check()
            time.sleep(min(0.25, max(0, until - time.monotonic())))
