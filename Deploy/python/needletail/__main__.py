"""Parquet and Arrow files in and out: python -m needletail import|export."""

from __future__ import annotations

import argparse
import sys

from needletail.client import Client
from needletail.retries import NeedletailError


def main() -> int:
    parser = argparse.ArgumentParser(prog="needletail-py", description=__doc__)
    parser.add_argument("--endpoint", help="host:port of a coordinator, with TLS https://host:port; NEEDLETAIL_ENDPOINT, or 127.0.0.1:7460, if absent")
    parser.add_argument("--api-key-file", help="file with the API key or token to send; the one in NEEDLETAIL_API_KEY if absent")
    commands = parser.add_subparsers(dest="command", required=True)
    load = commands.add_parser("import", help="write the rows of Parquet or Arrow files as points")
    load.add_argument("collection")
    load.add_argument("paths", nargs="+")
    load.add_argument("--id", default="id", help="the column of ids")
    load.add_argument("--vector", action="append", default=[], metavar="[FIELD=]COLUMN", help="a column of vectors; all fixed-size lists if absent")
    load.add_argument("--payload", help="columns that become payload, with commas between them; all others if absent")
    load.add_argument("--streams", type=int, default=2, help="requests at a time")
    save = commands.add_parser("export", help="write all points to a Parquet file")
    save.add_argument("collection")
    save.add_argument("path")
    save.add_argument("--no-vectors", action="store_true")
    save.add_argument("--no-payload", action="store_true")
    options = parser.parse_args()
    try:
        from needletail import arrow
    except ImportError:
        print("needletail-py: this needs pyarrow; install needletail[arrow]", file=sys.stderr)
        return 1
    try:
        with Client(options.endpoint, api_key_file=options.api_key_file) as client:
            if options.command == "export":
                count = arrow.export_file(client, options.collection, options.path, with_vectors=not options.no_vectors,
                                          with_payload=not options.no_payload)
                print(f"{count:,} points in {options.path}")
            else:
                vectors = {field: column for field, column in (text.split("=", 1) if "=" in text else ("", text) for text in options.vector)}
                payload = None if options.payload is None else [name for name in options.payload.split(",") if name]
                count = arrow.import_file(client, options.collection, options.paths, id=options.id, vectors=vectors or None, payload=payload,
                                          streams=options.streams)
                print(f"{count:,} points written to {options.collection}")
    except (NeedletailError, OSError, ValueError, TypeError) as error:
        print(f"needletail-py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
