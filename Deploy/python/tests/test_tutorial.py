"""What the tutorial does from Python, after what it does before that."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.mark.timeout(300)
def test_the_tutorial(tmp_path):
    from guides import follow, run

    place = {"NEEDLETAIL_LOCAL": str(tmp_path / "local"), "NEEDLETAIL_LOCAL_PORTS": "free"}
    try:
        follow("tutorial.md", "Start a cluster", place)
        place |= dict(line.removeprefix("export ").split("=", 1) for line in run("Deploy/local/cluster.py environment", place).splitlines())
        run("needletail collection create notes --field text:384:cosine --shards 3 --replicas 2", place)
        run("needletail import notes Sources/needletail/Resources/sample/vectors.f16bin --payload-jsonl Sources/needletail/Resources/sample/docs.jsonl", place)
        run("Deploy/wait-in-sync.sh 60", place)
        follow("tutorial.md", "From Python", {**place, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"})
    finally:
        subprocess.run([ROOT / "Deploy/local/cluster.py", "down", "--delete"], env={**os.environ, **place}, timeout=120, check=True, capture_output=True)
