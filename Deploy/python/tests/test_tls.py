"""The client with TLS, by the commands of the guide and by its own parameters."""

import os
import pathlib
import subprocess
import sys

import needletail
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    """A cluster of one machine as Deploy/local runs it; its environment."""
    from guides import commands, run

    place = {"NEEDLETAIL_LOCAL": str(tmp_path_factory.mktemp("local") / "cluster"), "NEEDLETAIL_LOCAL_PORTS": "free"}
    block, python = commands("deployment.md", "Encrypted")
    try:
        run(block, place)
        # The variables that the guide's second line sets.
        lines = run("Deploy/local/cluster.py environment", place).splitlines()
        yield {**place, **dict(line.removeprefix("export ").split("=", 1) for line in lines)}, python
    finally:
        subprocess.run([ROOT / "Deploy/local/cluster.py", "down", "--delete"], env={**os.environ, **place}, timeout=120, check=True, capture_output=True)


@pytest.mark.timeout(300)
def test_the_guide(encrypted):
    from guides import run

    environment, block = encrypted
    shown = run(block, {**environment, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"})
    assert shown.strip() == "5000"


def test_parameters(encrypted):
    environment, _ = encrypted
    endpoint, authority = environment["NEEDLETAIL_ENDPOINT"], environment["NEEDLETAIL_TLS_AUTHORITY"]
    assert endpoint.startswith("https://")
    tls = needletail.TLS(authority=authority)
    # An address alone counts as https:// when something of TLS is given.
    for address in (endpoint, endpoint.removeprefix("https://")):
        with needletail.Client(address, tls=tls) as client:
            assert client.count("notes", read="primary") == 5000
    with needletail.Client(endpoint, tls=needletail.TLS(authority=authority, server_name="localhost")) as client:
        assert client.count("notes") >= 0
    # The system's authorities have not signed it; without TLS it is not spoken to.
    for address, wrong in ((endpoint, None), (endpoint.replace("https", "http"), tls), (endpoint, needletail.TLS(authority=authority, server_name="elsewhere"))):
        with needletail.Client(address, tls=wrong, timeout=2) as client, pytest.raises(needletail.NeedletailError) as error:
            client.count("notes")
        assert error.value.code.name in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    with pytest.raises(ValueError, match="go together"):
        needletail.Client(endpoint, tls=needletail.TLS(certificate=authority))
