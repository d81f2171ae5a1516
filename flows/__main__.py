"""Console script, also run as `python -m flows`. Kept light, because spawned worker processes import it again."""

from __future__ import annotations

import sys

from flows.runtime.gc_tuning import raise_thresholds
from flows.runtime.standard_streams import secure_standard_streams


def main() -> None:
    """Run the `ramreel` command line, and exit with its code."""
    raise_thresholds()
    secure_standard_streams()
    from flows.cli.app import run
    from flows.runtime.proxies import exempt_loopback
    from tasks.execution.graceful_stop import treat_hangup_as_sigterm

    exempt_loopback()
    treat_hangup_as_sigterm()

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
