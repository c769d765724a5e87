"""Reads the commands out of the guides in Docs/, so that tests run what a reader would, and what the guides say that there is to see."""

import os
import re
import subprocess

from harness import BINARIES, ROOT


def fences(text):
    """The heading, the language and the text of every fenced block."""
    heading, language, lines = "", None, []
    for line in text.splitlines():
        if language is not None:
            if line.startswith("```"):
                yield heading, language, "".join(f"{one}\n" for one in lines)
                language, lines = None, []
            else:
                lines.append(line)
        elif line.startswith("```"):
            language = line[3:].strip()
        elif found := re.match(r"#+ (.*)", line):
            heading = found[1]


def steps(document, heading):
    """The bash blocks right under a heading, in order, each with the lines that it shows: the text block behind it, or none."""
    found = []
    for under, language, text in fences((ROOT / "Docs" / document).read_text()):
        if under == heading and language == "bash":
            found.append((text, []))
        elif under == heading and language == "text" and found:
            found[-1][1].extend(text.splitlines())
    assert found, f"Docs/{document} has no bash block under {heading!r}"
    return found


def commands(document, heading):
    """The bash blocks right under a heading, in order."""
    return [block for block, _ in steps(document, heading)]


def run(block, environment, timeout=240):
    """What it printed; as if typed into a shell that stops at the first failure, in the project's folder."""
    everything = {**os.environ, "NEEDLETAIL_BIN": str(BINARIES), **environment}
    everything["PATH"] = f"{BINARIES}:{everything['PATH']}"
    ended = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=ROOT, env=everything, capture_output=True, text=True, timeout=timeout)
    assert ended.returncode == 0, f"{block}\nended with {ended.returncode}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def missing(lines, shown):
    """The first of a guide's lines that was not there to see; None when all were. … stands for anything, and widths and the order of tables do not count."""
    for line in lines:
        pattern = r"\s+".join(".*".join(map(re.escape, word.split("…"))) for word in line.split()).replace(r"\s+.*", ".*").replace(r".*\s+", ".*")
        if not any(re.fullmatch(pattern, one.strip()) for one in shown.splitlines()):
            return line
    return None


def follow(document, heading, environment, timeout=240):
    """Runs the steps of a section and looks at what they show; returns all of it."""
    everything = []
    for block, lines in steps(document, heading):
        everything.append(run(block, environment, timeout))
        lost = missing(lines, everything[-1])
        assert lost is None, f"{heading} of Docs/{document} says that this is to be seen:\n{lost}\nand there was:\n{everything[-1]}"
    return "\n".join(everything)
