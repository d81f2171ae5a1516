"""The console script, and `python -m flows`: light, for every process that is begun from it imports it again."""

from __future__ import annotations

import sys

from flows.runtime.gc_tuning import look_rarely


def main() -> None:
    """The `ramreel` command."""
    look_rarely()
    from flows.cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
