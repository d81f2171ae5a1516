"""`ramreel doctor`."""

from __future__ import annotations

from flows.cli.options import Json
from flows.cli.session import announce, open_terminal


def doctor(*, as_json: Json = False) -> int:
    """Check this machine, from ROMs and ffmpeg to a five-second training run; prints a line each for a bug report."""
    announce("check this machine")
    from flows.runtime.proxies import describe_proxies
    from tasks.services.diagnosis import diagnose

    findings = []
    with open_terminal(as_json, quiet=True) as terminal:
        for finding in diagnose(describe_proxies):
            findings.append(finding)
            terminal.line(finding.line)
        wrong = [one.name for one in findings if not one.ok]
        terminal.results(
            [f"wrong: {', '.join(wrong)}" if wrong else "everything ramreel needs is here"],
            {"ok": not wrong, "checks": [one.model_dump() for one in findings]},
        )
    return 1 if wrong else 0
