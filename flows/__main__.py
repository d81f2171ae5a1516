"""Console script, also run as `python -m flows`. Kept light, because spawned worker processes import it again."""

from __future__ import annotations

import sys

from flows.runtime.gc_tuning import raise_thresholds


def main() -> None:
    """Run the `ramreel` command line, and exit with its code."""
    raise_thresholds()
    from flows.cli.app import run
    from flows.runtime.proxies import exempt_loopback

    exempt_loopback()

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
