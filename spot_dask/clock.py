"""The clock of this process: UTC when it was first asked, and from then on steady.

A system clock may be set while a run goes on (by NTP, by hand, by a virtual machine that wakes up).
What is measured as a difference of two readings of this one, wall budgets and durations, is not
changed by that. Two processes may disagree by what their clocks were set in between.
"""

from __future__ import annotations

import time

_BEGAN = time.time() - time.monotonic()


def now() -> float:
    """Seconds since the epoch (UTC), of a clock that is never set."""
    return _BEGAN + time.monotonic()
