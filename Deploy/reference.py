"""Writes Docs/configuration.md's tables from what the programs say of themselves. `make reference`; with --check, says whether they are up to date."""

import json
import os
import pathlib
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


def long_name(argument):
    """Without dashes; none for what has a place instead, and for what is no setting."""
    names = [one["name"] for one in argument.get("names", []) if one["kind"] == "long"]
    return names[0] if names and names[0] not in ("help", "version", "config", "print-config") else None


def table(program):
    live = {line.split(":")[0] for line in output(BINARIES / program, "--print-config").splitlines() if line.endswith(", live")}
    prefix = program.upper().replace("-", "_") + "_"
    rows = ["| setting | variable | default | |", "| --- | --- | --- | --- |"]
    arguments = {long_name(argument): argument for argument in described(program) if long_name(argument)}
    for name, argument in arguments.items():
        if name.removeprefix("no-") != name and name.removeprefix("no-") in arguments:
            continue
        default = argument.get("defaultValue", "false" if argument["kind"] == "flag" else "")
        if argument["kind"] == "flag" and default.startswith("--"):
            default = "false" if default.startswith("--no-") else "true"
        text = " ".join(" ".join(argument.get(part, "") for part in ("abstract", "discussion")).split()).replace("|", "\\|")
        mark = " ⟳" if name in live else ""
        rows.append(f"| `{name}`{mark} | `{prefix}{name.upper().replace('-', '_')}` | {f'`{default}`' if default else ''} | {text} |")
    assert len(rows) > 10, f"{program} describes itself in another way"
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
