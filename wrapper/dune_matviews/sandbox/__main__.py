"""Knows the arguments of `python -m dune_matviews.sandbox`, which needs no extra.
Must not know how a sandbox works."""

import argparse

from dune_matviews.sandbox.foreground import serve


def main() -> None:
    """Run a sandbox in the foreground until Ctrl-C, then show its ledger."""
    parser = argparse.ArgumentParser(
        prog="python -m dune_matviews.sandbox",
        description="A local stand-in for Dune's API, in which every materialized view exists. Ctrl-C ends it.",
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="divide the durations of executions by this (default: 1)"
    )
    parser.add_argument(
        "--example", action="store_true", help="start with six views, one of them fresh and one failing"
    )
    arguments = parser.parse_args()
    try:
        serve(arguments.port, arguments.speed, with_example=arguments.example)
    except (OSError, OverflowError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
