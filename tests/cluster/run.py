"""Run pytest with the given arguments on a bridge of its own, to which the tests attach machines.

Ends after an hour. Where namespaces are not available it says so, and succeeds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.machines import INSIDE, NAMESPACES, missing

_LIMIT_SECONDS = 60 * 60

if __name__ == "__main__":
    if reason := missing():
        print(f"tests/cluster: skipped ({reason})")
        sys.exit(0)
    # On any exception, `subprocess.run` kills the command, and with it all machines.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = [*NAMESPACES, sys.executable, "-m", "pytest", *sys.argv[1:]]
    try:
        completed = subprocess.run(command, env={**os.environ, INSIDE: "1"}, timeout=_LIMIT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        sys.exit(f"tests/cluster: not finished after {_LIMIT_SECONDS // 60} minutes")
    sys.exit(completed.returncode)
