"""Real processes, as the tests of the project start them."""

import pathlib
import random
import sys

import numpy as np
import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "Tests" / "Python"))


@pytest.fixture(scope="module")
def cluster():
    from harness import Cluster

    with Cluster(workers=2) as running:
        yield running


@pytest.fixture
def client(cluster):
    import needletail

    with needletail.Client(cluster.coordinator.address, timeout=60) as client:
        yield client


@pytest.fixture
def rng():
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return np.random.default_rng(seed)
