"""Writes Docs/configuration.md's tables from what the programs say of themselves. `make reference`; with --check, says whether they are up to date."""

import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BINARIES = pathlib.Path(os.environ.get("NEEDLETAIL_BIN", ROOT / ".build" / "release"))
PAGE = ROOT / "Docs" / "configuration.md"
BEGIN, END = "<!-- {} -->\n", "<!-- /{} -->\n"


def output(*command):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NEEDLETAIL_COORDINATOR_", "NEEDLETAIL_SHARD_"))}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def described(program):
    """The arguments of a program's command that serves."""
    command = json.loads(output(BINARIES / program, "--experimental-dump-help"))["command"]
    serve = [one for one in command.get("subcommands", []) if one["commandName"] == "serve"]
    return (serve or [command])[0]["arguments"]


def table(program):
    shown = output(BINARIES / program, "--print-config")
    live = {line.split(":")[0] for line in shown.splitlines() if line.endswith(", live")}
    prefix = program.upper().replace("-", "_") + "_"
    rows = ["| setting | variable | default | |", "| --- | --- | --- | --- |"]
    settings = re.findall(r"^([\w-]+):", shown, re.M)
    for argument in described(program):
        names = [one["name"] for one in argument.get("names", []) if one["kind"] == "long"]
        # Not --help and the like; of a flag and its opposite the one that is a setting.
        if not names or names[0] not in settings:
            continue
        default = argument.get("defaultValue", "false" if argument["kind"] == "flag" else "")
        default = {f"--{names[0]}": "true", f"--no-{names[0]}": "false"}.get(default, default)
        text = " ".join(" ".join(argument.get(part, "") for part in ("abstract", "discussion")).split()).replace("|", "\\|")
        mark = " ⟳" if names[0] in live else ""
        rows.append(f"| `{names[0]}`{mark} | `{prefix}{names[0].upper().replace('-', '_')}` | {f'`{default}`' if default else ''} | {text} |")
    return "\n".join(rows) + "\n"


def written(page):
    for program in ("needletail-coordinator", "needletail-shard"):
        before, rest = page.split(BEGIN.format(program), 1)
        after = rest.split(END.format(program), 1)[1]
        page = before + BEGIN.format(program) + table(program) + END.format(program) + after
    return page


def main():
    page = PAGE.read_text()
    new = written(page)
    if "--check" in sys.argv:
        sys.exit(0 if new == page else f"{PAGE.relative_to(ROOT)} is not what the programs say; run `make reference`")
    PAGE.write_text(new)


if __name__ == "__main__":
    main()
