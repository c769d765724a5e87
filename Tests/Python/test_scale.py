"""`needletail plan` and the profile that it plans with."""

import json
import subprocess

import pytest
from harness import BINARIES


def run(program, *arguments):
    return subprocess.run([str(BINARIES / program), *arguments], capture_output=True, text=True, timeout=300)


def plan(*arguments):
    done = run("needletail", "plan", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_plan_without_a_profile_of_ones_own():
    small, large = plan("--points", "1e8"), plan("--points", "1e9", "--replicas", "2")
    assert large["nodes"] > 10 * small["nodes"] and large["limited_by"] == "memory"
    assert 0 < large["node"]["memory_bytes"] <= 0.7 * 64e9
    text = run("needletail", "plan", "--points", "1e8").stdout
    assert "shard workers" in text and "99 of 100 within" in text


def test_ten_billion_points_on_a_thousand_nodes_are_simulated():
    """Two runs with one seed are the same."""
    arguments = ["--points", "1e10", "--replicas", "2", "--memory", "32", "--searches", "50", "--p99", "200", "--simulate", "--seed", "5"]
    once, again = plan(*arguments), plan(*arguments)
    assert once == again and once["nodes"] >= 500
    assert once["simulated"]["p99_ms"] > once["simulated"]["p50_ms"] > 0
    assert once["simulated"]["hedged"] <= 0.06


@pytest.mark.parametrize("arguments,says", [
    (["--points", "0"], "points must be"),
    (["--points", "1e9", "--replicas", "99"], "replicas must be"),
    (["--points", "1e8", "--p99", "0.2", "--round-trip", "2"], "allow more time"),
    (["--points", "1e5", "--searches", "1e7"], "take more replicas"),
    (["--points", "1e13", "--memory", "1"], "take larger nodes"),
    (["--points", "1e8", "--profile", "/nowhere.json"], "calibrate --out /nowhere.json"),
    (["--points", "many"], "many"),
])
def test_what_cannot_be_planned_says_why(arguments, says):
    done = run("needletail", "plan", *arguments)
    assert done.returncode != 0 and says in done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("text,says", [('{"format": 1}', "has format 1"), ('{"format": 4}', "is no profile"), ("[]", "is no profile")])
def test_a_profile_that_is_none_is_refused(tmp_path, text, says):
    path = tmp_path / "profile.json"
    path.write_text(text)
    for program in (["needletail", "plan", "--points", "1e8"], ["needletail-bench", "simulate"]):
        done = run(*program, "--profile", str(path))
        assert done.returncode != 0 and says in done.stderr, done.stderr


def test_a_calibrated_profile_is_planned_with(tmp_path):
    path = tmp_path / "mine.json"
    done = run("needletail-bench", "calibrate", "--points", "4000", "--dimensions", "16", "--out", str(path))
    assert done.returncode == 0, done.stderr
    profile = json.loads(path.read_text())
    assert profile["dimensions"] == 16 and profile["recall"] >= 0.95
    assert sum(cost for name, cost in profile["rpc"].items() if name.startswith("coordinator")) > 1 and profile["memoryBytes"] > 16
    assert plan("--points", "1e7", "--profile", str(path))["nodes"] >= 1
    done = run("needletail-bench", "simulate", "--profile", str(path), "--rate", "500", "--vectors", "4000", "--searches", "2000")
    figures = json.loads(done.stdout)
    assert figures["highest_rate"] > 500 and figures["p99_ms"] >= figures["p50_ms"] > 0
