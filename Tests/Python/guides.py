"""Reads the commands out of the guides in Docs/, so that tests run what a reader would."""

import os
import re
import subprocess

from harness import BINARIES, ROOT


def commands(document, heading):
    """The bash blocks of a section, in order."""
    text = (ROOT / "Docs" / document).read_text()
    section = re.search(rf"^(#+) {re.escape(heading)}$(.*?)(?=^#{{1,2}} |\Z)", text, re.M | re.S)
    assert section, f"Docs/{document} has no section {heading!r}"
    found = re.findall(r"^```bash\n(.*?)^```", section.group(2), re.M | re.S)
    assert found, f"{heading!r} of Docs/{document} has no bash block"
    return found


def run(block, environment, timeout=240):
    """What it printed; as if typed into a shell that stops at the first failure, in the project's folder."""
    everything = {**os.environ, "NEEDLETAIL_BIN": str(BINARIES), **environment}
    everything["PATH"] = f"{BINARIES}:{everything['PATH']}"
    ended = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=ROOT, env=everything, capture_output=True, text=True, timeout=timeout)
    assert ended.returncode == 0, f"{block}\nended with {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return ended.stdout
