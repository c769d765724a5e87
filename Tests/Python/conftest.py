"""Generates the gRPC stubs from Proto/ and gives tests a running cluster."""

import os
import pathlib
import random
import subprocess
import sys

import grpc_tools
import numpy as np
import pytest
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
STUBS = ROOT / ".build" / "python-stubs"


def generate_stubs():
    protos = sorted(str(path.relative_to(ROOT / "Proto")) for path in (ROOT / "Proto" / "needletail").rglob("*.proto"))
    STUBS.mkdir(parents=True, exist_ok=True)
    include = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    code = protoc.main(["protoc", f"-I{ROOT / 'Proto'}", f"-I{include}", f"--python_out={STUBS}", f"--grpc_python_out={STUBS}", *protos])
    assert code == 0, "protoc could not read Proto/"


generate_stubs()
sys.path[:0] = [str(STUBS), str(pathlib.Path(__file__).parent)]


@pytest.fixture
def seed():
    value = int(os.environ.get("NEEDLETAIL_SEED", random.randrange(2**32)))
    print(f"NEEDLETAIL_SEED={value}")
    return value


@pytest.fixture
def rng(seed):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def cluster():
    from harness import Cluster

    with Cluster(workers=2) as running:
        yield running


@pytest.fixture
def place(tmp_path):
    """The environment of a cluster of `Deploy/local` in a folder of its own, on free ports; ended whatever happens."""
    environment = {"NEEDLETAIL_LOCAL": str(tmp_path / "local"), "NEEDLETAIL_LOCAL_PORTS": "free"}
    yield environment
    subprocess.run([ROOT / "Deploy" / "local" / "cluster.py", "down", "--delete"], env={**os.environ, **environment}, timeout=120, check=True, capture_output=True)
