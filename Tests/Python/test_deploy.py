"""What Deploy/ has for containers and Kubernetes is read by the tools for it, and asks of the programs only what they know."""

import http.server
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from functools import cache

import grpc
import pytest
import yaml
from certificates import Security
from grpc_health.v1 import health_pb2, health_pb2_grpc
from harness import BINARIES, ROOT, Process, free_ports, wait_for

DEPLOY = ROOT / "Deploy"
DOCKER, CHART, PLAIN = DEPLOY / "docker", DEPLOY / "helm" / "needletail", DEPLOY / "kubernetes"
TOOLS = pathlib.Path(sys.executable).parent
KUBERNETES = ["1.29", "1.33", "1.37"]  # What the chart says it needs, at least; and later ones.


def tool(*words, **options):
    ended = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=100, **options)
    assert ended.returncode == 0, f"{' '.join(map(str, words))}\n{ended.stdout[-4000:]}{ended.stderr[-4000:]}"
    return ended.stdout


# What the programs know

@cache
def usage(*words):
    return tool(BINARIES / words[0], *words[1:], "--help")


def assert_is_known(words, where):
    """That a program of ours knows the subcommands and flags of a command line."""
    called, rest = [words[0]], list(words[1:])
    if words[0] == "needletail-shard" and rest[:1] != ["repair"]:
        called.append("serve")
    while rest and re.search(rf"^  {re.escape(rest[0])}(?: |$)", usage(*called).rpartition("SUBCOMMANDS:")[2], re.M) and "SUBCOMMANDS:" in usage(*called):
        called.append(rest.pop(0))
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", usage(*called)))
    asked = [word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
    assert "SUBCOMMANDS:" not in usage(*called) or not rest or rest[0].startswith("-"), f"{where}: `{' '.join(called)}` has no {rest[0]}"
    assert not set(asked) - known, f"{where}: `{' '.join(called)}` has no {', '.join(sorted(set(asked) - known))}"


def in_guides():
    """Commands in the fences of all documents, with the names that they are called by cut to the last part of the path."""
    for file in [ROOT / "README.md", *sorted((ROOT / "Docs").glob("*.md"))]:
        text = file.read_text()
        blocks = re.findall(r"^```(?:\w*)\n(.*?)^```", text, re.M | re.S)
        for block in [*blocks, *re.findall(r"`(needletail\S* [^`\n]*)`", text)]:
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                # Of what runs in a pod or a container, the program itself.
                line = re.sub(r".* exec (?:\S+ -- |shard-\d )", "", line)
                line = re.sub(r"\s+#.*|[|;&>].*", "", line.strip().removeprefix("$ ").removeprefix("sudo "))
                if match := re.match(r"(?:\S*/)?(needletail(?:-coordinator|-shard|-load|-bench)?) (.*)", line):
                    yield f"{file.name}: {line}", [match[1], *shlex.split(match[2])]


def in_units():
    for file in sorted((DEPLOY / "systemd").glob("*.service")):
        words = re.search(r"^ExecStart=(.*)$", file.read_text(), re.M)[1].split()
        yield file.name, [pathlib.Path(words[0]).name, *words[1:]]
    # Settings for more flags, and the examples beside them.
    for program, options in re.findall(r"# Of (\S+) on this host.*?^(# More flags, as: .*?)^END", (DEPLOY / "systemd" / "install.sh").read_text(), re.M | re.S):
        yield "install.sh", [program, *re.findall(r"--[a-z-]+", options)]


def in_compose():
    for name, service in compose()["services"].items():
        if service["image"].startswith("needletail"):
            yield f"compose: {name}", service["command"]
    for line in re.findall(r"^(?:HEALTHCHECK.*)?CMD (\[.*\])$", (DOCKER / "Dockerfile").read_text(), re.M):
        yield "Dockerfile", yaml.safe_load(line)


def in_manifests():
    for item in plain():
        for container in pods(item):
            yield f"manifests: {container['name']}", container["command"]
            if "lifecycle" in container:
                yield f"manifests: {container['name']} preStop", container["lifecycle"]["preStop"]["exec"]["command"]


def others():
    """etcd and Prometheus, of which the installed version may be older than the one in a container."""
    for name, service in compose()["services"].items():
        if name.startswith("etcd"):
            yield name, service["command"]
        elif name == "prometheus":
            yield name, ["prometheus", *service["command"]]
    yield from (one for one in in_manifests() if one[1][0] == "etcd")


def test_etcd_and_prometheus_know_their_flags():
    for where, words in others():
        shown = subprocess.run([words[0], "--help"], capture_output=True, text=True, timeout=60)
        known = set(re.findall(r"--[a-z][\w.-]*", shown.stdout + shown.stderr))
        asked = {word.partition("=")[0] for word in words[1:]}
        # What etcd is told by its environment are flags, too.
        told = compose()["services"].get(where, {}).get("environment", {}) if words[0] == "etcd" else {}
        asked |= {"--" + name.removeprefix("ETCD_").lower().replace("_", "-") for name in told if name.startswith("ETCD_")}
        assert asked <= known, (where, asked - known)


@pytest.mark.parametrize("found", [in_guides, in_units, in_compose, in_manifests])
def test_every_command_is_one_that_the_programs_know(found):
    ours = [(where, words) for where, words in found() if (BINARIES / words[0]).exists()]
    assert len(ours) >= 2
    for where, words in ours:
        assert_is_known(words, where)
    with pytest.raises(AssertionError, match="has no --colour"):
        assert_is_known([*ours[0][1], "--colour"], "here")


def certificates(folder):
    """What the compose file's first service makes, in a folder of this machine."""
    made, authority = folder / "tls", folder / "authority"
    for one in (made, authority):
        one.mkdir(exist_ok=True)
    tool(DOCKER / "certificates.sh", authority, made, f"{os.getuid()}:{os.getgid()}", env={**os.environ, "PATH": f"{BINARIES}:{os.environ['PATH']}"})
    return made


def told(service, made):
    """The environment of a service, with the certificates where they are here."""
    return {name: str(value).replace("/tls/", f"{made}/") for name, value in compose()["services"][service]["environment"].items()}


def started_as(words, folder, values, environment=None):
    """Starts a worker of the compose file or the manifests with its own flags, but for the ports, and ends it."""
    words = [re.sub(r"\$\((\w+)\)", lambda match: values[match[1]], word) for word in words]
    words[words.index("--listen") + 1], words[words.index("--admin") + 1] = "127.0.0.1:0", "0"
    words[words.index("--data") + 1] = str(folder)
    port_file = folder.with_suffix(".port")
    process = subprocess.Popen([BINARIES / words[0], *words[1:], "--port-file", port_file], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, **(environment or {})})
    try:
        wait_for(lambda: port_file.exists() or process.poll() is not None, "listening")
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stderr.close()


def test_workers_start_with_the_values_that_they_are_given(tmp_path):
    started_as(compose()["services"]["shard-1"]["command"], tmp_path / "compose", {}, told("shard-1", certificates(tmp_path)))
    shard = next(words for where, words in in_manifests() if where.endswith(" shard"))
    started_as(shard, tmp_path / "pod", {"POD_NAME": "needletail-shard-0", "MEMORY_LIMIT": "8589934592", "ZONE": ""})


@pytest.mark.skipif(os.geteuid() != 0, reason="wants a mount namespace and another user, which are root's")
def test_nothing_but_the_data_folder_is_written():
    """As in the image: another user, no capabilities, and a root that is read-only but for the volume."""
    # Below /mnt in a mount namespace, since the other user may not see where tests and programs lie.
    script = ("mount --make-rprivate / && mount -t tmpfs -o mode=0755 tmpfs /mnt && mkdir /mnt/bin /mnt/volume && mount --bind \"$0\" /mnt/bin && "
              "mount -t tmpfs -o mode=0700,uid=10001,gid=10001 tmpfs /mnt/volume && mount -o remount,ro /mnt && "
              "mount -o remount,bind,ro / && cd /mnt/volume && "
              "exec setpriv --reuid=10001 --regid=10001 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \"$@\"")
    for program in ("needletail-coordinator", "needletail-shard"):
        process = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", script, BINARIES, f"/mnt/bin/{program}", "--data", "/mnt/volume/data", "--listen", "127.0.0.1:0",
             "--admin", "0", "--port-file", "/mnt/volume/port"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            port = pathlib.Path(f"/proc/{process.pid}/root/mnt/volume/port")
            wait_for(lambda: process.poll() is not None or port.exists(), f"{program} listening")
            assert process.poll() is None, process.stderr.read()
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            assert re.search(r"^Uid:\s+10001", status, re.M) and re.search(r"^CapEff:\s+0+$", status, re.M), status
            mounts = [line.split() for line in pathlib.Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()]
            assert [mount[5].split(",")[0] for mount in mounts if mount[4] in ("/", "/mnt")] == ["ro", "ro"], mounts
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, process.stderr.read()
        finally:
            process.kill()
            process.stderr.close()


def test_probes_are_answered(tmp_path):
    """Those of the manifests, by processes that are well."""
    sets = {item["metadata"]["labels"]["app.kubernetes.io/component"]: item for item in plain() if item["kind"] == "StatefulSet"}
    coordinator = Process("needletail-coordinator", tmp_path / "coordinator", ["--admin", "0"]).start()
    worker = Process("needletail-shard", tmp_path / "shard", ["--admin", "0", "--coordinator", coordinator.address]).start()
    try:
        for name, process in [("coordinator", coordinator), ("shard", worker)]:
            container = pods(sets[name])[0]
            probes = [container[key] for key in ("startupProbe", "livenessProbe", "readinessProbe")]
            for probe in probes:
                if "grpc" in probe:
                    with grpc.insecure_channel(process.address) as channel:
                        asked = health_pb2.HealthCheckRequest(service=probe["grpc"]["service"])
                        answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=10)
                    assert answer.status == health_pb2.HealthCheckResponse.SERVING, name
                else:
                    assert probe["httpGet"]["port"] == "admin"
                    address = f"http://127.0.0.1:{process.admin_port}{probe['httpGet']['path']}"
                    with urllib.request.urlopen(address, timeout=10) as answer:
                        assert answer.status == 200, address
    finally:
        worker.stop()
        coordinator.stop()


# Files of any kind

def test_yaml_and_shell_are_clean():
    rules = "{extends: default, rules: {document-start: disable, line-length: {max: 240}, comments-indentation: disable}}"
    files = [file for ending in ("yaml", "yml") for file in DEPLOY.rglob(f"*.{ending}") if "templates" not in file.parts]
    tool(TOOLS / "yamllint", "--strict", "-d", rules, *files)
    tool(TOOLS / "shellcheck", *DEPLOY.rglob("*.sh"))


# The image and the compose file

def test_the_image_takes_what_there_is(tmp_path):
    text = (DOCKER / "Dockerfile").read_text()
    tool(TOOLS / "hadolint", DOCKER / "Dockerfile")
    sources = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M) for word in line.split()[:-1] if not word.startswith("--")]
    allowed = [line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sources and sorted(sources) == sorted(allowed), "what is copied, and what the build is sent"
    for source in sources:
        assert (ROOT / source).exists(), source
    # `COPY --from` and `install` name the same programs, and the package has them.
    package = (ROOT / "Package.swift").read_text()
    for program in re.search(r"for product in (.*?);", text)[1].split():
        assert f'.executable(name: "{program}"' in package and f".build/release/{program}" in text, program

    # Every library that the programs need, but for Swift's, which is inside them, comes from a package that is installed there.
    runtime = re.findall(r"[a-z0-9+.-]+", re.search(r"FROM debian.*?recommends (.*?)\\\n", text, re.S)[1])
    needed = set()
    for program in ("needletail", "needletail-coordinator", "needletail-shard"):
        for path in re.findall(r"=> (/(?:usr/)?lib\S*) ", tool("ldd", BINARIES / program)):
            owner = tool("dpkg-query", "--search", f"*{pathlib.Path(path).name}").splitlines()[0].split(":")[0]
            needed.add(owner)
    assert needed and needed - {"libc6", "libgcc-s1"} <= set(runtime), needed
    for package in re.search(r"^DEBIAN := (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split():
        assert package.startswith("python3") or package in text, package


def test_the_health_check_asks_the_process(tmp_path):
    class Unwell(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(503)

        def log_message(self, *_):
            pass

    def check(port):
        return subprocess.run([DOCKER / "health.sh", str(port)], capture_output=True, timeout=30).returncode

    with http.server.HTTPServer(("127.0.0.1", 0), Unwell) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert check(server.server_port) != 0
        thread.join()
        closed = server.server_port
    assert check(closed) != 0
    for number, flags in enumerate(([], Security(tmp_path / "tls").flags("coordinator"))):
        coordinator = Process("needletail-coordinator", tmp_path / f"{number}", ["--admin", "0", *flags]).start()
        try:
            assert check(coordinator.admin_port) == 0
        finally:
            coordinator.stop()


@cache
def compose():
    """As podman-compose reads it: with references, variables and defaults in place. It wants a podman, of which it asks only the version."""
    folder = ROOT / ".build" / "podman"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "podman").write_text("#!/bin/sh\necho podman version 5.2.1\n")
    (folder / "podman").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return yaml.safe_load(tool(TOOLS / "podman-compose", "--file", DOCKER / "compose.yaml", "config", env=environment))


def test_the_compose_file_is_whole(tmp_path):
    tool(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DOCKER / "compose.yaml")
    services = compose()["services"]
    from test_local import PROGRAM
    local = re.search(r"\{etcd-1,.*?\}|only these: (.*)", tool(PROGRAM, "up", "--help").replace("\n", " "))
    assert all(name in local[0] for name in services if name not in ("grafana", "certificates")), "Deploy/local has the same processes"
    for name, service in services.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert set(service.get("depends_on", [])) <= set(services), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0] if isinstance(volume, str) else volume["source"]
            assert source in compose()["volumes"] or (DOCKER / source).exists(), (name, source)
    for name in ("alerts.yml",):
        shutil.copy(DEPLOY / "prometheus" / name, tmp_path)
    shutil.copy(DOCKER / "prometheus.yml", tmp_path)
    tool("promtool", "check", "config", tmp_path / "prometheus.yml")
    asked = [target for job in yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"] for target in job["static_configs"][0]["targets"]]
    assert sorted(asked) == sorted(f"{name}:7461" for name in services if name.startswith(("coordinator", "shard")))


def test_compose_encrypts_everything_with_what_it_makes(tmp_path):
    """Its command lines and variables, one process of each kind, on this machine."""
    services = compose()["services"]
    holders = [name for name, one in services.items() if any(str(volume).startswith("authority:") for volume in one.get("volumes", []))]
    assert holders == ["certificates"] and services["certificates"]["command"][0] == "needletail-certificates"
    assert "/usr/local/bin/needletail-certificates" in (DOCKER / "Dockerfile").read_text()
    text = (DOCKER / "compose.yaml").read_text()
    assert "--insecure" not in text and set(re.findall(r"http://\S+", text)) == set()
    made = certificates(tmp_path)
    assert {file.name for file in made.iterdir()} == {
        "authority.pem", "client-authority.pem", *(f"{name}.{ending}" for name in ("etcd", "coordinator", "shard") for ending in ("pem", "key"))}
    assert all(file.stat().st_mode & 0o777 == (0o600 if file.suffix == ".key" else 0o644) for file in made.iterdir())

    client, peer = free_ports(2)
    words = {name: list(services[name]["command"]) for name in ("etcd-1", "coordinator-1", "shard-1")}
    addresses = {"--data-dir": tmp_path / "etcd", "--listen-client-urls": f"https://127.0.0.1:{client}", "--advertise-client-urls": f"https://127.0.0.1:{client}",
                 "--listen-peer-urls": f"https://127.0.0.1:{peer}", "--initial-advertise-peer-urls": f"https://127.0.0.1:{peer}",
                 "--initial-cluster": f"etcd-1=https://127.0.0.1:{peer}"}
    words["etcd-1"] = [f"{word.partition('=')[0]}={addresses.get(word.partition('=')[0], word.partition('=')[2])}" if "=" in word else word for word in words["etcd-1"]]
    ports, running = {}, {}

    def start(name, **flags):
        for flag, value in flags.items():
            words[name][words[name].index(f"--{flag}") + 1] = str(value)
        command = words[name] if name == "etcd-1" else [BINARIES / words[name][0], *words[name][1:], "--port-file", tmp_path / f"{name}.port"]
        with open(tmp_path / f"{name}.log", "ab") as log:
            running[name] = subprocess.Popen(command, env={**os.environ, **told(name, made)}, cwd=tmp_path, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if name != "etcd-1":
            wait_for(lambda: (tmp_path / f"{name}.port").exists() or running[name].poll() is not None, f"{name} listening", 30, logs)
            assert running[name].poll() is None, logs()
            ports[name] = (tmp_path / f"{name}.port").read_text().split()

    def logs():
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in tmp_path.glob("*.log"))

    def asked(*command):
        environment = {**os.environ, **told("shard-1", made), **told("etcd-1", made), "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": f"https://localhost:{client}"}
        return subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, timeout=60)

    def status():
        return asked(BINARIES / "needletail", "status", "--endpoint", f"localhost:{ports['coordinator-1'][0]}").stdout

    def reloads():
        shown = asked("curl", "--silent", "--cacert", made / "authority.pem", f"https://localhost:{ports['shard-1'][1]}/metrics").stdout
        return {result: float(re.search(rf'needletail_tls_reloads_total{{result="{result}"}} (\S+)', shown)[1]) for result in ("loaded", "failed")}

    try:
        start("etcd-1")
        health = [word for word in services["etcd-1"]["healthcheck"]["test"] if word != "CMD"]
        wait_for(lambda: asked(*health).returncode == 0, "etcd to be well", 30, logs)
        start("coordinator-1", metadata=f"etcd://localhost:{client}", listen="127.0.0.1:0", advertise="localhost:0", admin=0)
        start("shard-1", data=tmp_path / "shard", listen="127.0.0.1:0", advertise="localhost:0", coordinator=f"localhost:{ports['coordinator-1'][0]}", admin=0)
        wait_for(lambda: "1 of 1 nodes alive" in status(), "the worker to join", 30, logs)
        for name in ("coordinator-1", "shard-1"):
            assert asked(DOCKER / "health.sh", ports[name][1]).returncode == 0
        # The next `up`: the same authority, and new certificates that are read while all goes on.
        authority, certificate, before = (made / "authority.pem").read_text(), (made / "shard.pem").read_text(), reloads()["loaded"]
        certificates(tmp_path)
        assert (made / "authority.pem").read_text() == authority and (made / "shard.pem").read_text() != certificate
        wait_for(lambda: reloads()["loaded"] > before, "the new certificates", 30, logs)
        assert "1 of 1 nodes alive" in status()
    finally:
        for process in reversed(running.values()):
            process.kill()
            process.wait()


# Kubernetes

@cache
def renderer():
    target = ROOT / ".build" / "chart-render"
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(ROOT / ".build" / "go")}
    tool("go", "build", "-o", target, ROOT / "Tests" / "Chart" / "render.go", env=environment)
    return target


def rendered(tmp_path, values=None, release="needletail", namespace="needletail"):
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values or {}))
    text = tool(renderer(), CHART, release, namespace, file)
    assert "<no value>" not in text
    return text


def plain():
    return [item for item in yaml.safe_load_all((PLAIN / "needletail.yaml").read_text()) if item]


def pods(item):
    return item["spec"]["template"]["spec"]["containers"] if item["kind"] == "StatefulSet" else []


VALUES = {
    "own": {},
    "small": {"scheduling": {"antiAffinity": "preferred", "nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "disk", "operator": "Exists"}]},
              "coordinator": {"autoscaling": {"enabled": False}, "replicas": 1}, "networkPolicy": {"enabled": False}},
    "other etcd": {"etcd": {"enabled": False, "endpoints": "10.0.0.7:2379,10.0.0.8:2379"}, "image": {"pullSecrets": [{"name": "registry"}]}},
    "more": {"shard": {"flags": ["--weight", "2"], "environment": [{"name": "AWS_REGION", "value": "eu-north-1"}], "storage": {"className": "local"}},
             "networkPolicy": {"egress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"protocol": "TCP", "port": 443}]}]}},
    "encrypted": {"tls": {"enabled": True, "issuer": {"name": "authority"}, "clientAuthority": "users"}},
    "encrypted by given secrets": {"tls": {"enabled": True, "secrets": {"coordinator": "mine", "shard": "mine"}}, "etcd": {"enabled": False, "endpoints": "e:2379"}},
}


@pytest.mark.parametrize("case", VALUES)
def test_what_the_chart_makes_is_what_kubernetes_reads(tmp_path, case):
    schema = CHART / "values.schema.json"
    for file in (CHART / "values.yaml",):
        tool(TOOLS / "check-jsonschema", "--schemafile", schema, file)
    text = rendered(tmp_path, VALUES[case], release="search", namespace="apps")
    file = tmp_path / "all.yaml"
    items = [item for item in yaml.safe_load_all(text) if item]
    certificates = [item for item in items if item["kind"] == "Certificate"]  # Of cert-manager, which Kubernetes does not know.
    items = [item for item in items if item["kind"] != "Certificate"]
    file.write_text(yaml.safe_dump_all(items))
    for version in KUBERNETES:
        tool(TOOLS / "kubernetes-validate", "--strict", "--quiet", "-k", version, file)
    check_references(items)
    check_encryption(items, certificates, case)
    names = {item["metadata"]["name"] for item in items}
    assert ("search-etcd" in names) == (case not in ("other etcd", "encrypted by given secrets"))
    shard = next(item for item in items if item["kind"] == "StatefulSet" and item["metadata"]["name"] == "search-shard")
    words = pods(shard)[0]["command"]
    assert_is_known(words, case)
    doors = words[words.index("--coordinator") + 1]
    assert doors.count("search-coordinator-") == (1 if case == "small" else 2), doors
    assert ("--weight" in words) == (case == "more")


def check_encryption(items, certificates, case):
    """Certificates are for the names by which processes are reached, and of the roles that those have."""
    sets = {item["metadata"]["name"]: item for item in items if item["kind"] == "StatefulSet"}
    words = {name: " ".join(pods(item)[0]["command"]).replace("$(POD_NAME)", f"{name}-0") for name, item in sets.items()}
    if not case.startswith("encrypted"):
        assert not certificates and all(("--insecure" in text) == ("etcd" not in name) and "--tls" not in text for name, text in words.items())
        return
    made = {one["spec"]["secretName"]: one["spec"] for one in certificates}
    assert len(made) == (3 if case == "encrypted" else 0)
    for name, item in sets.items():
        pod = item["spec"]["template"]["spec"]
        secret = next(volume["secret"]["secretName"] for volume in pod["volumes"] if volume["name"] == "tls")
        assert secret == (f"{name}-tls" if made else "mine")
        assert "--insecure" not in words[name] and "http://" not in words[name].replace("http://0.0.0.0:2381", "")
        for probe in [value["httpGet"] for key, value in pods(item)[0].items() if key.endswith("Probe")]:
            assert probe["scheme"] == "HTTPS" if probe["port"] == "admin" else probe["port"] == "health"
        if not made:
            continue
        spec = made[secret]
        assert spec.get("uris", []) == ([] if "etcd" in name else [f"needletail://{name.removeprefix('search-')}"])
        assert {"server auth", "client auth"} <= set(spec["usages"]) and spec["issuerRef"]["name"] == "authority"
        # The names at which all others look for it.
        everywhere = " ".join([*words.values(), *(one["value"] for each in sets.values() for one in pods(each)[0]["env"] if "value" in one)])
        asked = set(re.findall(rf"(?<![\w.-])({name}-\d+\.[\w.-]+|{name}\.[\w.-]+):\d+", everywhere))
        assert asked, name
        for host in asked:
            assert host in spec["dnsNames"] or f"*.{host.partition('.')[2]}" in spec["dnsNames"], (host, spec["dnsNames"])


def check_references(items):
    """What names something else names something that is there."""
    sets = {item["metadata"]["name"]: item for item in items if item["kind"] == "StatefulSet"}

    def chosen(selector):
        wanted = selector.get("matchLabels", selector)
        return [one for one in sets.values() if wanted.items() <= one["spec"]["template"]["metadata"]["labels"].items()]

    def ports(one):
        return {port["name"]: port["containerPort"] for port in pods(one)[0]["ports"]}

    services = {item["metadata"]["name"] for item in items if item["kind"] == "Service"}
    assert all(item["metadata"].get("namespace") == "apps" for item in items)
    for item in items:
        kind, spec, name = item["kind"], item["spec"], item["metadata"]["name"]
        if kind == "Service":
            assert len(chosen(spec["selector"])) == 1, name
            assert all(port["targetPort"] in ports(chosen(spec["selector"])[0]) for port in spec["ports"]), name
        elif kind == "StatefulSet":
            assert chosen(spec["selector"]) == [item] and spec["serviceName"] in services, name
            container = pods(item)[0]
            claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
            volumes = {volume["name"] for volume in spec["template"]["spec"].get("volumes", [])}
            assert {mount["name"] for mount in container.get("volumeMounts", [])} == claims | volumes, name
            for probe in [container[one] for one in container if one.endswith("Probe")]:
                assert "grpc" in probe and probe["grpc"]["port"] in ports(item).values() or probe["httpGet"]["port"] in ports(item), name
            known = {variable["name"] for variable in container["env"]}
            assert set(re.findall(r"\$\((\w+)\)", " ".join(container["command"]))) <= known, name
            # Addresses below a headless service of the cluster.
            for other, service in re.findall(r"([\w-]+)-\d+\.([\w-]+):\d+", " ".join(container["command"])):
                assert sets[other]["spec"]["serviceName"] == service, name
            assert container["securityContext"]["readOnlyRootFilesystem"] and spec["template"]["spec"]["securityContext"]["runAsNonRoot"], name
            budget = [one for one in items if one["kind"] == "PodDisruptionBudget" and chosen(one["spec"]["selector"]) == [item]]
            assert len(budget) == 1, name
        elif kind == "HorizontalPodAutoscaler":
            assert spec["scaleTargetRef"]["name"] in sets and "replicas" not in sets[spec["scaleTargetRef"]["name"]]["spec"]


def test_the_plain_manifests_are_the_chart(tmp_path):
    made = (PLAIN / "needletail.yaml").read_text().split("\n", 1)[1]
    assert made == rendered(tmp_path), "run `make manifests`"
    for version in KUBERNETES:
        tool(TOOLS / "kubernetes-validate", "--strict", "--quiet", "-k", version, *PLAIN.glob("*.yaml"))


def test_a_worker_may_wait_and_write_before_it_is_killed():
    shard = next(item for item in plain() if item["kind"] == "StatefulSet" and item["metadata"]["name"].endswith("shard"))
    hook = pods(shard)[0]["lifecycle"]["preStop"]["exec"]["command"]
    assert hook[0] == "needletail-wait-in-sync" and f"/usr/local/bin/{hook[0]}" in (DOCKER / "Dockerfile").read_text()
    assert shard["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= int(hook[1]) + 60


def test_values_that_make_no_sense_are_refused(tmp_path):
    whole = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, value in [("shard.tags", "1"), ("shard.replicas", 0), ("scheduling.antiAffinity", "never"), ("shard.resources.limits", {}), ("etcd.size", 1)]:
        values = yaml.safe_load(yaml.safe_dump(whole))
        *outer, last = path.split(".")
        place = values
        for key in outer:
            place = place[key]
        place[last] = value
        file = tmp_path / "wrong.yaml"
        file.write_text(yaml.safe_dump(values))
        checked = subprocess.run([TOOLS / "check-jsonschema", "--schemafile", CHART / "values.schema.json", file], capture_output=True, timeout=60)
        assert checked.returncode == 1, path
    (tmp_path / "none.yaml").write_text("etcd: {enabled: false}")
    refused = subprocess.run([renderer(), CHART, "a", "b", tmp_path / "none.yaml"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "etcd.endpoints is needed" in refused.stderr


def test_guides_name_what_there_is():
    """kubectl and Helm cannot be run here: but files, values, sets and pods that the guides name can be looked for."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    sets = {item["metadata"]["name"]: item for item in plain() if item["kind"] == "StatefulSet"}
    blocks = "\n".join(block for name in ("deployment.md", "upgrade.md")
                       for block in re.findall(r"^```sh\n(.*?)^```", (ROOT / "Docs" / name).read_text(), re.M | re.S))
    lines = [line for line in blocks.splitlines() if line.startswith(("helm", "kubectl", "docker"))]
    assert len(lines) > 12
    for line in lines:
        words = shlex.split(line)
        for flag, value in zip(words, words[1:]):
            if flag in ("--filename", "--file"):
                assert (ROOT / value).exists(), line
            elif flag == "--set":
                place = values
                for key in value.partition("=")[0].split("."):
                    assert key in place, line
                    place = place[key]
        if words[0] == "helm":
            assert words[1] in ("install", "upgrade") and words[2] == "needletail" and (ROOT / words[3] / "Chart.yaml").exists(), line
        for name in re.findall(r"statefulset/(\S+)", line):
            assert name in sets, line
        if match := re.search(r"kubectl .* exec (\S+)-\d+ -- ", line):
            assert match[1] in sets, line
        for name, service in re.findall(r"(needletail-\w+)-\d+\.([\w-]+):", line):
            assert sets[name]["spec"]["serviceName"] == service, line
        for claim, name in re.findall(r"delete pvc (\w+)-(\S+)-\d+", line):
            assert claim in [one["metadata"]["name"] for one in sets[name]["spec"]["volumeClaimTemplates"]], line
        if words[:2] == ["docker", "compose"]:
            assert all(word in compose()["services"] for word in re.findall(r"(?:exec|--no-deps) (\S+)", line)), line


def test_everything_is_of_one_version():
    version = tool(BINARIES / "needletail", "--version").split()[-1]
    chart, values = yaml.safe_load((CHART / "Chart.yaml").read_text()), yaml.safe_load((CHART / "values.yaml").read_text())
    assert version == chart["version"] == chart["appVersion"] == values["coordinator"]["tag"] == values["shard"]["tag"]


def matches(peer, pod):
    """Whether a peer of a policy is this pod: its namespace and labels."""
    namespace, labels = pod
    if "namespaceSelector" in peer:
        if peer["namespaceSelector"].get("matchLabels", {}).get("kubernetes.io/metadata.name", namespace) != namespace:
            return False
    elif namespace != "needletail":
        return False
    return peer.get("podSelector", {}).get("matchLabels", {}).items() <= labels.items()


def test_network_policies_let_through_what_is_needed_and_nothing_else():
    policies = [item["spec"] for item in plain() if item["kind"] == "NetworkPolicy"]
    sets = {item["metadata"]["labels"]["app.kubernetes.io/component"]: item for item in plain() if item["kind"] == "StatefulSet"}
    everybody = {name: ("needletail", item["spec"]["template"]["metadata"]["labels"]) for name, item in sets.items()}
    ports = {name: {port["name"]: port["containerPort"] for port in pods(item)[0]["ports"]} for name, item in sets.items()}
    everybody |= {"client": ("needletail", {"needletail-client": "true"}), "stranger": ("needletail", {"app": "shop"}),
                  "prometheus": ("monitoring", {"app": "prometheus"}), "elsewhere": ("shop", {"needletail-client": "true"}), "dns": ("kube-system", {})}

    def allows(direction, subject, other, port, names):
        of = [spec for spec in policies if matches({"podSelector": spec["podSelector"]}, everybody[subject]) and everybody[subject][0] == "needletail"]
        if not of:
            return True
        key, side = ("ingress", "from") if direction == "in" else ("egress", "to")
        return any(any(matches(peer, everybody[other]) for peer in rule[side]) and port in [names.get(one["port"], one["port"]) for one in rule["ports"]]
                   for spec in of for rule in spec.get(key, []))

    def reaches(sender, receiver, port):
        return allows("out", sender, receiver, port, {}) and allows("in", receiver, sender, port, ports.get(receiver, {}))

    reached = {(sender, receiver, port) for sender in everybody for receiver in ports for port in ports[receiver].values() if reaches(sender, receiver, port)}
    assert reached == {
        ("client", "coordinator", 7460), ("coordinator", "coordinator", 7460), ("shard", "coordinator", 7460),
        ("coordinator", "shard", 7470), ("shard", "shard", 7470),
        ("coordinator", "etcd", 2379), ("etcd", "etcd", 2380),
        ("prometheus", "coordinator", 7461), ("prometheus", "shard", 7461),
    }
    assert all(reaches(name, "dns", 53) and not reaches(name, "dns", 443) for name in sets)
