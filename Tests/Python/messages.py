"""The texts that the programs can print, read out of Sources/: string literals, with … for what is put in as they are printed."""

import re
from functools import cache

from harness import ROOT

ESCAPES = {"n": "\n", "t": "\t", "0": "\0", "r": "\r"}


def _literal(text, at):
    """The string that begins with the quotes at `at`, and where it ends."""
    end = '"""' if text.startswith('"""', at) else '"'
    found, at = [], at + len(end)
    while not text.startswith(end, at):
        if text.startswith("\\(", at):
            found.append("…")
            at = _interpolation(text, at + 2)
        elif text[at] == "\\":
            found.append("" if text[at + 1] == "\n" else ESCAPES.get(text[at + 1], text[at + 1]))
            at += 2
        else:
            found.append(text[at])
            at += 1
    return "".join(found) if end == '"' else " ".join("".join(found).split()), at + len(end)


def _interpolation(text, at):
    """Behind the parenthesis that ends it; strings within may have parentheses of their own."""
    depth = 1
    while depth:
        if text[at] == '"':
            _, at = _literal(text, at)
            continue
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at


def _literals(text):
    """Those joined by a plus are one. Raw strings are left out: no message is one."""
    found, at, between = [], 0, ""
    for start in iter(lambda: re.compile(r'//|/\*|#"|"').search(text, at), None):
        between += text[at:start.start()]
        if start[0] != '"':
            end = {"//": "\n", "/*": "*/", '#"': '"#'}[start[0]]
            at = text.index(end, start.end()) + len(end)
            continue
        one, at = _literal(text, start.start())
        if found and re.fullmatch(r"\s*\+\s*", between):
            found[-1] += one
        else:
            found.append(one)
        between = ""
    return found


@cache
def printed():
    """All that there are, one a line."""
    return "\n".join(sorted({one.replace("\n", " ") for file in sorted((ROOT / "Sources").rglob("*.swift")) for one in _literals(file.read_text())}))
