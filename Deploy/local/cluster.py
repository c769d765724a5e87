#!/usr/bin/env python3
"""The topology of the compose file as plain processes of this machine: three etcd, two coordinators, three shard workers, Prometheus.

    Deploy/local/cluster.py up            starts what does not run yet, and waits until all of it is ready; with --tls everything is encrypted
    Deploy/local/cluster.py environment   what a shell has to know to reach it: eval "$(Deploy/local/cluster.py environment)"
    Deploy/local/cluster.py status        what runs, where, and whether it is ready
    Deploy/local/cluster.py down          stops everything; the data stay, and `up` goes on with them

Needs etcd and Prometheus (Debian: etcd-server, prometheus) and the project's executables. Everything lives in one folder, by default
.build/local. Only processes that this program started there are ever stopped: by number, and by the moment at which they began.
"""

import argparse
import fcntl
import json
import os
import pathlib
import select
import shutil
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "Deploy" / "prometheus"
HOST = "127.0.0.1"
# In the order of starting; stopped the other way round. Beside each its number of ports: the service's, and another for its admin port or peers.
ETCD = [f"etcd-{number}" for number in (1, 2, 3)]
COORDINATORS = [f"coordinator-{number}" for number in (1, 2)]
SHARDS = [f"shard-{number}" for number in (1, 2, 3)]
NAMES = [*ETCD, *COORDINATORS, *SHARDS, "prometheus"]
# Before the first sign of life; a worker with much data loads it after that.
START_SECONDS, READY_SECONDS, STOP_SECONDS = 60, 300, 60


class Failure(Exception):
    """Says to the user what to do."""


def ports_from(first):
    """Clients find the coordinators at `first` and `first + 2`; each process has two ports in a row."""
    order = [*COORDINATORS, *SHARDS, *ETCD, "prometheus"]
    return {name: [first + 2 * number, first + 2 * number + 1] for number, name in enumerate(order)}


def free_ports():
    """All are held at once, so that no two are the same."""
    sockets = [socket.socket() for _ in range(2 * len(NAMES))]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        taken = [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
    return {name: taken[2 * number:2 * number + 2] for number, name in enumerate(NAMES)}


def birth(pid):
    """When a living process began, in ticks since the machine did; None when it is gone. A number that was given anew has another one."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


class Cluster:
    def __init__(self, folder, binaries):
        self.folder, self.binaries, self.file = folder, binaries, folder / "cluster.json"
        self.known = json.loads(self.file.read_text()) if self.file.exists() else {"ports": {}, "processes": {}}
        self.certificates = folder / "tls"

    # State

    def save(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".draft")
        draft.write_text(json.dumps(self.known, indent=1))
        draft.replace(self.file)

    def port(self, name, which=0):
        return self.known["ports"][name][which]

    def pid(self, name):
        """Of the running process, else None."""
        found = self.known["processes"].get(name)
        return found["pid"] if found and found["birth"] and birth(found["pid"]) == found["birth"] else None

    # Encryption: all of it or nothing, as long as the folder is kept.

    @property
    def is_encrypted(self):
        return self.known.get("tls", False)

    def scheme(self, name):
        """Prometheus is asked by its user alone."""
        return "https" if self.is_encrypted and name != "prometheus" else "http"

    def pair(self, name):
        return str(self.certificates / f"{name}.pem"), str(self.certificates / f"{name}.key")

    @property
    def authority(self):
        return str(self.certificates / "authority.pem")

    def make_certificates(self):
        """Those that are missing."""
        def run(*words):
            made = subprocess.run([self.binaries / "needletail", "certificates", *words, "--folder", self.certificates], capture_output=True, text=True)
            if made.returncode:
                raise Failure(made.stderr.strip())

        if not pathlib.Path(self.authority).exists():
            run("init")
        for name in [*ETCD, *COORDINATORS, *SHARDS, "prometheus"]:
            role = "coordinator" if name in COORDINATORS else "shard" if name in SHARDS else None
            if not pathlib.Path(self.pair(name)[0]).exists():
                run("node", name, "--host", HOST, "--host", "localhost", *(["--role", role] if role else []))

    def flags(self, name):
        """Of a coordinator or a worker."""
        if not self.is_encrypted:
            return []
        certificate, key = self.pair(name)
        flags = ["--tls-certificate", certificate, "--tls-key", key, "--tls-authority", self.authority]
        if name in COORDINATORS:
            flags += ["--client-authority", str(self.certificates / "client-authority.pem"),
                      "--etcd-certificate", certificate, "--etcd-key", key, "--etcd-authority", self.authority]
        return flags

    def log(self, name):
        return self.folder / name / "log"

    # What each process is

    def command(self, name):
        data = str(self.folder / name / "data")
        address, second = f"{HOST}:{self.port(name)}", f"{HOST}:{self.port(name, 1)}"
        if name in ETCD:
            scheme, certificates = self.scheme(name), []
            peers = ",".join(f"{one}={scheme}://{HOST}:{self.port(one, 1)}" for one in ETCD)
            if self.is_encrypted:
                certificate, key = self.pair(name)
                for way in ("", "peer-"):
                    certificates += [f"--{way}cert-file", certificate, f"--{way}key-file", key, f"--{way}trusted-ca-file", self.authority,
                                     f"--{way}client-cert-auth"]
            return ["etcd", "--name", name, "--data-dir", data, "--listen-client-urls", f"{scheme}://{address}", "--advertise-client-urls",
                    f"{scheme}://{address}", "--listen-peer-urls", f"{scheme}://{second}", "--initial-advertise-peer-urls", f"{scheme}://{second}",
                    *certificates, "--initial-cluster", peers, "--initial-cluster-token", "needletail-local", "--max-request-bytes", "33554432",
                    "--logger", "zap", "--log-level", "warn"]
        if name in COORDINATORS:
            members = ",".join(f"{HOST}:{self.port(one)}" for one in ETCD)
            return [str(self.binaries / "needletail-coordinator"), "--metadata", f"etcd://{members}/local", "--data", data,
                    "--listen", address, "--admin", str(self.port(name, 1)), *self.flags(name)]
        if name in SHARDS:
            doors = ",".join(f"{HOST}:{self.port(one)}" for one in COORDINATORS)
            return [str(self.binaries / "needletail-shard"), "--data", data, "--listen", address, "--coordinator", doors,
                    "--zone", f"zone-{name[-1]}", "--admin", str(self.port(name, 1)), *self.flags(name)]
        return ["prometheus", f"--config.file={self.folder}/prometheus/prometheus.json", f"--storage.tsdb.path={data}",
                f"--web.listen-address={address}"]

    def probe(self, name):
        """The address that answers 200 once the process is ready."""
        scheme = self.scheme(name)
        if name in ETCD:
            return f"{scheme}://{HOST}:{self.port(name)}/health"
        return f"{scheme}://{HOST}:{self.port(name)}/-/ready" if name == "prometheus" else f"{scheme}://{HOST}:{self.port(name, 1)}/readyz"

    def open(self, request):
        """Asks a process, with a certificate to show: etcd wants one."""
        context = None
        if self.is_encrypted:
            context = ssl.create_default_context(cafile=self.authority)
            context.load_cert_chain(*self.pair("prometheus"))
        return urllib.request.urlopen(request, timeout=2, context=context)

    def write_prometheus(self):
        """As Deploy/prometheus/prometheus.yml, with the ports of this cluster. JSON is YAML."""
        def job(label, names):
            targets = {"static_configs": [{"targets": [f"{HOST}:{self.port(name, 1)}" for name in names]}]}
            encryption = {"scheme": "https", "tls_config": {"ca_file": self.authority}} if self.is_encrypted else {}
            return {"job_name": label, **targets, **encryption}

        (self.folder / "prometheus").mkdir(parents=True, exist_ok=True)
        (self.folder / "prometheus" / "prometheus.json").write_text(json.dumps({
            "global": {"scrape_interval": "5s", "evaluation_interval": "5s"}, "rule_files": [str(PROMETHEUS / "alerts.yml")],
            "scrape_configs": [job("needletail-coordinator", COORDINATORS), job("needletail-shard", SHARDS)]}))

    # Starting and stopping

    def forget(self, name):
        if self.known["processes"].pop(name, None):
            self.save()

    def start(self, name):
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        with open(self.log(name), "ab") as log:
            # A session of its own: it outlives this program, and a ctrl-C at the terminal is not its business.
            process = subprocess.Popen(self.command(name), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.known["processes"][name] = {"pid": process.pid, "birth": birth(process.pid)}
        self.save()
        return process

    def answer(self, name):
        """200 when ready, another number when not yet, 0 without an answer; and what it said."""
        try:
            request = urllib.request.Request(self.probe(name), headers={"Accept": "text/plain"})
            with self.open(request) as answer:
                return answer.status, ""
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace").strip()
        except OSError as error:
            return 0, str(error)

    def wait(self, names, condition, what, seconds):
        deadline = time.monotonic() + seconds
        for name in names:
            while not condition(name):
                if self.pid(name) is None:
                    raise Failure(f"{name} ended; the end of {self.log(name)}:\n{self.log(name).read_text(errors='replace')[-2000:]}")
                if time.monotonic() > deadline:
                    raise Failure(f"{name} {what} after {seconds} s: {self.answer(name)[1]}; see {self.log(name)}")
                time.sleep(0.05)

    def workers_known(self, name):
        """Whether a coordinator knows all workers that run: a collection made now is spread over them."""
        try:
            with self.open(f"{self.scheme(name)}://{HOST}:{self.port(name, 1)}/metrics") as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return False
        alive = next((line for line in lines if line.startswith("needletail_nodes{") and 'state="alive"' in line), "0").split()[-1]
        return float(alive) >= sum(self.pid(one) is not None for one in SHARDS)

    def up(self, names, ports, encrypted):
        for program in ["etcd", *(["prometheus"] if "prometheus" in names else [])]:
            if shutil.which(program) is None:
                raise Failure(f"{program} is not installed; on Debian: apt-get install etcd-server prometheus"
                              + (" (or --without-prometheus)" if program == "prometheus" else ""))
        for program in ["needletail-coordinator", "needletail-shard"]:
            if not (self.binaries / program).exists():
                raise Failure(f"{self.binaries / program} is missing: run `make build`, or say with --bin where the executables are")
        if encrypted and self.known["ports"] and not self.is_encrypted:
            raise Failure("this cluster began without TLS and goes on without; `down --delete` ends it, with all data")
        self.known["tls"] = encrypted or self.is_encrypted
        if self.is_encrypted:
            self.make_certificates()
        # etcd's members know each other by their ports, so a cluster keeps those that it began with.
        self.known["ports"] = self.known["ports"] or (free_ports() if ports == "free" else ports_from(int(ports)))
        self.write_prometheus()
        started = []
        try:
            for group in (ETCD, COORDINATORS, SHARDS, ["prometheus"]):
                fresh = [name for name in group if name in names and self.pid(name) is None]
                for name in fresh:
                    started.append((name, self.start(name)))
                self.wait(fresh, lambda name: self.answer(name)[0] != 0, "does not answer", START_SECONDS)
                if group == ETCD:
                    # Alone a member is not well.
                    self.wait([n for n in group if self.pid(n)], lambda name: self.answer(name)[0] == 200, "is not well", START_SECONDS)
            running = [name for name in NAMES if self.pid(name)]
            self.wait([n for n in running if n in COORDINATORS], self.workers_known, "does not know all workers", START_SECONDS)
            self.wait(running, lambda name: self.answer(name)[0] == 200, "is not ready", READY_SECONDS)
        except (Failure, KeyboardInterrupt):
            self.down([name for name, _ in started])
            raise

    def down(self, names):
        """SIGTERM, and SIGKILL for what does not heed it; group by group, so that nobody misses a group that it needs to end well."""
        stubborn = []
        # etcd's members one by one: each hands over to one that lives, where all at once would wait for another that is gone.
        for group in (["prometheus"], SHARDS, COORDINATORS, *([name] for name in ETCD)):
            open_files = {}
            for name in [one for one in group if one in names]:
                pid = self.pid(name)
                if pid is None:
                    self.forget(name)
                    continue
                try:
                    file = os.pidfd_open(pid)
                    # Looked at again: from here on the number cannot be given to another.
                    if self.pid(name) == pid:
                        signal.pidfd_send_signal(file, signal.SIGTERM)
                        open_files[name] = file
                except ProcessLookupError:
                    self.forget(name)  # It ended by itself just now.
            deadline = time.monotonic() + STOP_SECONDS
            for name, file in open_files.items():
                if not select.select([file], [], [], max(0, deadline - time.monotonic()))[0]:
                    stubborn.append(name)
                    signal.pidfd_send_signal(file, signal.SIGKILL)
                    select.select([file], [], [], STOP_SECONDS)
                os.close(file)
                self.forget(name)
        if stubborn:
            raise Failure(f"killed, since SIGTERM did not end them within {STOP_SECONDS} s: {', '.join(stubborn)}")

    def environment(self):
        """Lines for a shell."""
        if not self.known["ports"]:
            raise Failure("there is no cluster yet; `up` starts it")
        doors = [f"{self.scheme(name)}://{HOST}:{self.port(name, which)}" for name in COORDINATORS[:1] for which in (0, 1)]
        values = {"NEEDLETAIL_ENDPOINT": doors[0], "NEEDLETAIL_CONSOLE": doors[1]}
        if self.is_encrypted:
            values["NEEDLETAIL_TLS_AUTHORITY"] = self.authority
        for name, value in values.items():
            print(f"export {name}={shlex.quote(value)}")

    def show(self):
        """Prints a line for each process; true when all that were started are ready."""
        is_well = bool(self.known["processes"])
        print(f"{'PROCESS':15}{'STATE':10}{'PID':>8}  {'ADDRESS':17}PROBE")
        for name in NAMES if self.known["ports"] else []:
            pid = self.pid(name)
            code, reason = self.answer(name) if pid else (0, "")
            state = "ready" if code == 200 else "unready" if pid else "dead" if name in self.known["processes"] else "stopped"
            is_well &= state in ("ready", "stopped")
            print(f"{name:15}{state:10}{pid or '-':>8}  {HOST}:{self.port(name):<7} {self.probe(name)} {reason}".rstrip())
        return is_well


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=pathlib.Path, default=pathlib.Path(os.environ.get("NEEDLETAIL_LOCAL", ROOT / ".build" / "local")),
                        help="folder of data, logs and what runs ($NEEDLETAIL_LOCAL, else .build/local)")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what does not run, and wait until it is ready")
    up.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(NAMES)}")
    up.add_argument("--bin", type=pathlib.Path, default=pathlib.Path(os.environ.get("NEEDLETAIL_BIN", ROOT / ".build" / "release")),
                    help="folder of the executables ($NEEDLETAIL_BIN, else .build/release)")
    up.add_argument("--ports", default=os.environ.get("NEEDLETAIL_LOCAL_PORTS", "7460"),
                    help="the first of 18 in a row, or `free` for any; kept as long as the folder is ($NEEDLETAIL_LOCAL_PORTS, else 7460)")
    up.add_argument("--without-prometheus", action="store_true")
    up.add_argument("--tls", action="store_true", help="make certificates in the folder's tls/ and encrypt everything, etcd included")
    commands.add_parser("environment", help="print what a shell has to know: NEEDLETAIL_ENDPOINT and so on")
    commands.add_parser("status", help="what runs; ends with 1 unless all is ready")
    down = commands.add_parser("down", help="stop everything; the data stay")
    down.add_argument("names", nargs="*", metavar="NAME", help="only these")
    down.add_argument("--delete", action="store_true", help="remove the folder, with all data, afterwards")
    options = parser.parse_args()
    names = getattr(options, "names", None) or NAMES
    if set(names) - set(NAMES):
        parser.error(f"no such process: {', '.join(sorted(set(names) - set(NAMES)))}; there are {', '.join(NAMES)}")
    if options.command == "up" and not (options.ports == "free" or options.ports.isdigit()):
        parser.error("--ports wants a number or `free`")
    folder = options.state.resolve()
    if options.command in ("up", "down"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = open(folder.with_name(folder.name + ".lock"), "w")  # Beside the folder, which may be removed; held until this program ends.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"another up or down is at work in {folder}; wait for it") from None
    cluster = Cluster(folder, getattr(options, "bin", pathlib.Path()).resolve())
    if options.command == "up":
        cluster.up([name for name in names if not (options.without_prometheus and name == "prometheus")], options.ports, options.tls)
    elif options.command == "environment":
        cluster.environment()
        return 0
    elif options.command == "down":
        cluster.down(names)
        if options.delete and names is NAMES:
            shutil.rmtree(cluster.folder, ignore_errors=True)
        return 0
    return 0 if cluster.show() else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"cluster.py: {failure}")
