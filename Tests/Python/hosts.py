"""Hosts for guides that speak of several: addresses of a network namespace, a folder each for what is installed, and a `systemctl` that
starts the very ExecStart of the installed units, with their settings, as plain processes."""

import contextlib
import os
import pathlib
import re
import select
import shlex
import signal
import subprocess
import sys

from harness import wait_for

UNITS = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"]


@contextlib.contextmanager
def network(addresses):
    """The words to put before a command so that it runs where the host's loopback has these addresses, and nobody else listens."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    try:
        words = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        own = os.readlink("/proc/self/ns/net")
        wait_for(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own, "a network namespace", 10)
        for command in ["link set lo up", *(f"addr add {address}/32 dev lo" for address in addresses)]:
            subprocess.run([*words, "ip", *command.split()], check=True)
        yield words
    finally:
        holder.kill()
        holder.wait()


def unit(root, name):
    """The settings of a unit and its drop-ins below `root`, or the machine's own where the package that brings it is not installed there."""
    name = name.removesuffix(".service") + ".service"
    found = [pathlib.Path(base, folder, name) for base in (root, "/") for folder in UNITS]
    files = [next(path for path in found if path.exists()), *sorted((root / UNITS[0] / f"{name}.d").glob("*.conf"))]
    return [line.strip().split("=", 1) for file in files for line in file.read_text().splitlines() if re.match(r"\w+=", line)]


def command(root, name):
    """What systemd would start, and its environment: both below `root`, as if that were the whole disk."""
    environment, line = {}, ""
    settings = unit(root, name)
    for key, value in settings:
        if key == "Environment":
            environment.update(word.split("=", 1) for word in shlex.split(value))
        elif key == "ExecStart":
            line = value
    for value in [value for key, value in settings if key == "EnvironmentFile" and not value.startswith("-")]:
        lines = (root / value.lstrip("/")).read_text().splitlines()
        environment.update(one.split("=", 1) for one in lines if one and not one.startswith("#"))
    words = []
    for word in line.split():
        if match := re.fullmatch(r"\$(\w+)", word):  # Without braces: as many words as it has.
            words += environment[match[1]].split()
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda m: environment[m[1]], word))

    def below(text):
        return re.sub(r"^/(usr/local/bin|var/lib|etc/needletail|etc/etcd-needletail)/", lambda m: f"{root}{m[0]}", text)

    return [below(word) for word in words], {key: below(value) for key, value in environment.items()}


def systemctl(root, verb, names):
    for name in names:
        state = root / "run" / name.removesuffix(".service")
        state.parent.mkdir(exist_ok=True)
        if verb in ("stop", "restart") and state.exists():
            stop(int(state.read_text()))
            state.unlink()
        if verb in ("start", "restart"):
            words, environment = command(root, name)
            for data in [word for word in [*words, *environment.values()] if word.startswith(f"{root}/var/lib/")]:
                pathlib.Path(data).parent.mkdir(parents=True, exist_ok=True)
            with open(state.with_suffix(".log"), "ab") as log:
                process = subprocess.Popen(words, env={**os.environ, **environment}, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
            state.write_text(str(process.pid))


def stop(pid):
    file = os.pidfd_open(pid)
    signal.pidfd_send_signal(file, signal.SIGTERM)
    assert select.select([file], [], [], 60)[0], f"{pid} did not end"
    os.close(file)


def shims(folder):
    """Programs that the guides call and a test must not: `sudo`, and `systemctl` for the host whose folder DESTDIR names."""
    folder.mkdir()
    for name, text in {"sudo": 'exec "$@"', "systemctl": f'exec {sys.executable} {__file__} "$@"'}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


if __name__ == "__main__":
    systemctl(pathlib.Path(os.environ["DESTDIR"]), sys.argv[1], sys.argv[2:])
