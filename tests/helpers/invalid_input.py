"""Hypothesis strategies for invalid command-line arguments and JSON values."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from helpers.scale import sized

many_examples = settings(
    max_examples=sized(10, 100),
    deadline=None,
    derandomize=sized(True, False),
    database=None,
    # Failing examples are small already; shrinking them takes minutes.
    phases=[Phase.explicit, Phase.generate],
    # The fixtures are shared by all examples on purpose: the tests assert that no example changes them.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)
"""Settings: `make test` uses the same examples each time, `make faults` other ones."""

_SPECIAL_ARGUMENTS = (
    *("", " ", ".", "..", "/", "~", "../../../../etc/passwd", "/etc/passwd", "C:\\x", "%s%n", "{0.__class__}", "{run}"),
    *("$(touch exploded)", "`touch exploded`", "; touch exploded", "| touch exploded", "&& touch exploded", "-", "--"),
    *("' OR 1=1 --", '"; DROP TABLE runs; --', "`", "<script>alert(1)</script>", "[/]", "[red]", "\x1b[31mred\x1b[0m"),
    *("a\nb", "a\r\nb", "\x07", "\u202eabc", "null", "nan", "inf", "-inf", "1e400", "0x1", "-0", "9" * 5000),
    *("x" * 300, "x/" * 3000, "file:///etc/passwd", "http://127.0.0.1:9/x", "__import__('os')", "ALE/Pong-v5\n"),
)  # fmt: skip
arguments = st.one_of(
    st.sampled_from(_SPECIAL_ARGUMENTS),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    st.lists(st.binary(max_size=12).map(lambda raw: os.fsdecode(raw.replace(b"\0", b""))), max_size=3).map("/".join),
)
"""Anything that an operating system takes as an argument, including bytes that are not valid UTF-8."""
json_texts = st.one_of(arguments, st.text(max_size=40), st.just("\0"), st.just("\ud800"))
"""Anything that JSON or Python can hold as text."""
json_numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([-1, 0, 2**31, 2**63, 10**9, 10**10 + 1, 10**400, -(10**400)]),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), json_numbers, json_texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(json_texts, inner, max_size=3)),
    max_leaves=6,
)
"""Any parsed JSON value, and numbers and texts beyond JSON."""
