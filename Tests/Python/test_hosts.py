"""The guides for hosts with systemd, by their commands: three hosts, installed by the script, upgraded one by one."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
from guides import commands
from harness import BINARIES, ROOT
from hosts import command, shims, stop

INSTALL = ROOT / "Deploy" / "systemd" / "install.sh"
ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


@pytest.fixture
def programs(tmp_path):
    """Stand-ins, small: only their names matter where nothing is started."""
    for name in ("needletail", "needletail-coordinator", "needletail-shard"):
        shutil.copy("/bin/true", tmp_path / name)
    return tmp_path


def install(root, *arguments, check=True):
    environment = {**os.environ, "DESTDIR": str(root / "root"), "NEEDLETAIL_BIN": str(root)}
    return subprocess.run([INSTALL, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=check)


def test_the_units_are_what_systemd_reads(programs):
    root = programs / "root"
    install(programs, "--address", "10.0.0.1", "--hosts", ",".join(ADDRESSES), "--insecure")
    # What they refer to: the machine's own targets, and etcd's unit.
    shutil.copytree("/usr/lib/systemd/system", root / "usr/lib/systemd/system", symlinks=True)
    (root / "bin").mkdir()
    shutil.copy("/bin/kill", root / "bin/kill")
    for name in ("needletail-coordinator.service", "needletail-shard.service"):
        checked = subprocess.run(["systemd-analyze", "verify", f"--root={root}", "--man=no", name], capture_output=True, text=True, timeout=60)
        complaints = [line for line in checked.stderr.splitlines() if "needletail" in line]
        assert not complaints, complaints
        rated = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=15", f"{root}/etc/systemd/system/{name}"],
                               capture_output=True, text=True, timeout=60)
        assert rated.returncode == 0, rated.stdout + rated.stderr
    made = subprocess.run(["systemd-sysusers", f"--root={root}"], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0 and "needletail" in (root / "etc/passwd").read_text(), made


def test_settings_are_kept_and_nonsense_is_refused(programs):
    root = programs / "root"
    install(programs, "--address", "h1", "--hosts", "h1,h2", "--roles", "shard", "--zone", "rack-1", "--memory-limit", "48GiB", "--insecure")
    assert not (root / "etc/needletail/coordinator.env").exists()
    words, _ = command(root, "needletail-shard")
    assert words[1:] == ["--data", f"{root}/var/lib/needletail/shard", "--listen", "h1:7470", "--coordinator", "h1:7460,h2:7460",
                         "--admin", "7471", "--zone", "rack-1", "--memory-limit", "48GiB", "--insecure"]
    settings = root / "etc/needletail/shard.env"
    settings.write_text(settings.read_text().replace("rack-1", "rack-9"))
    again = install(programs, "--address", "h1", "--hosts", "h1,h2", "--roles", "shard", "--insecure")
    assert "kept /etc/needletail/shard.env" in again.stdout and "rack-9" in settings.read_text()
    for arguments, reason in [(["--zone", "a b", "--address", "h", "--hosts", "h"], "letters"), (["--roles", "proxy"], "no such role"),
                              (["--address", "h1"], "go together"), (["--address", "h1", "--hosts", "h1"], "--certificates FOLDER, or --insecure"),
                              (["--address", "h1", "--hosts", "h1", "--certificates", str(root)], "needletail certificates makes them"), (["--binaries", str(root)], "make build"), (["--what"], "--help"),
                              (["--zone"], "wants a value")]:
        refused = install(programs, *arguments, check=False)
        assert refused.returncode == 1 and reason in refused.stderr, (arguments, refused)


@pytest.mark.skipif(os.geteuid() != 0, reason="wants a network namespace, which is root's")
def test_the_guides_to_three_machines_and_to_upgrades(tmp_path):
    from hosts import network

    roots = [tmp_path / f"host-{number}" for number in (1, 2, 3)]
    for root in roots:
        root.mkdir()
    path = shims(tmp_path / "shims")
    certify, *installs, start, use = commands("deployment.md", "Three machines")
    assert len(installs) == len(roots)

    def logs():
        return "\n".join(f"--- {log}\n{log.read_text(errors='replace')[-1500:]}" for log in sorted(tmp_path.glob("host-*/run/*.log")))

    with network(ADDRESSES) as words:
        def run(block, root, **more):
            environment = {**os.environ, "DESTDIR": str(root), "NEEDLETAIL_BIN": str(BINARIES), "HOME": str(tmp_path), **more,
                           "PATH": f"{path}:{root}/usr/local/bin:{os.environ['PATH']}"}
            ended = subprocess.run([*words, "bash", "-euo", "pipefail", "-c", block], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
            assert ended.returncode == 0, f"{block}\n{ended.stdout}{ended.stderr}\n{logs()}"
            return ended.stdout

        authority = {"NEEDLETAIL_TLS_AUTHORITY": str(tmp_path / "tls" / "authority.pem")}
        ask = f"curl --silent --fail --cacert ~/tls/authority.pem --cert ~/tls/etcd-10.0.0.1.pem --key ~/tls/etcd-10.0.0.1.key"
        try:
            run(f"PATH={BINARIES}:$PATH\n{certify}", roots[0])
            for block, root in zip(installs, roots):
                run(block, root)
            # etcd's unit counts as started once it serves, which takes two members: so there its second line waits.
            for line in start.splitlines():
                for root in roots:
                    run(line, root)
                for address in ADDRESSES:
                    run(f"timeout 60 bash -c 'until {ask} https://{address}:2379/health; do sleep 0.1; done'", roots[0])
            shown = run(use, roots[0])
            assert "3 of 3 nodes alive" in shown and shown.count("10.0.0.") >= 6 and all(f"rack-{n}" in shown for n in (1, 2, 3)), shown

            first = [pathlib.Path(root, "run", name).read_text() for root in roots for name in ("needletail-shard", "needletail-coordinator")]
            workers, coordinators = commands("upgrade.md", "Hosts with systemd")
            for block in (workers, coordinators):
                for root, other in zip(roots, [*ADDRESSES[1:], ADDRESSES[0]]):
                    run(block, root, NEEDLETAIL_ENDPOINT=f"{other}:7460", **authority)
            second = [pathlib.Path(root, "run", name).read_text() for root in roots for name in ("needletail-shard", "needletail-coordinator")]
            assert not set(first) & set(second), "not everything was restarted"
            shown = run("needletail status", roots[0], NEEDLETAIL_ENDPOINT="https://10.0.0.1:7460", **authority)
            assert re.search(r"3 of 3 shards ready.* 5000 points", shown), shown

            # As the guide takes a worker away: two replicas of each shard fit on the two that are left.
            run("needletail cluster drain 10.0.0.3:7470 --wait 100", roots[0], NEEDLETAIL_ENDPOINT="https://10.0.0.1:7460", **authority)
        finally:
            for state in [file for order in ("shard", "coordinator", "etcd") for file in tmp_path.glob(f"host-*/run/*{order}")]:
                stop(int(state.read_text()))
            for root in roots:
                shutil.rmtree(root / "usr")  # The programs, in which there is nothing to look for.
