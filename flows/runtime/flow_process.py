"""Entry point of a deployment's flow run: `prefect.engine` with tuned garbage collection and proxies."""

from __future__ import annotations

import atexit
import runpy

from flows.runtime.gc_tuning import freeze_imports, raise_thresholds
from flows.runtime.proxies import exempt_loopback

if __name__ == "__main__":
    raise_thresholds()
    exempt_loopback()
    # Registered first, so it runs last, after the flow run.
    atexit.register(freeze_imports)
    # This module stays __main__: spawned worker processes import __main__ again, and prefect.engine takes seconds.
    runpy.run_module("prefect.engine", run_name="__main__")
