"""A deployment's flow run, in a process of its own: `prefect.engine`, begun and ended sooner."""

from __future__ import annotations

import atexit
import runpy

from flows.runtime.gc_tuning import leave_imports, look_rarely

if __name__ == "__main__":
    look_rarely()
    # Registered first, done last: the flow run is over.
    atexit.register(leave_imports)
    # This module stays the main one: processes begun from here import it again, and Prefect's would take them seconds.
    runpy.run_module("prefect.engine", run_name="__main__")
