"""The coordinator: a state machine that decides what happens next in a run.

Events go in, instructions come out; it does no I/O and has no clock (every event is handled at a
``now`` given in seconds), so the same code runs against a real cluster, a simulated one and a
scripted test. Whoever drives it may hand in several events, a ``Tick`` as the last of them, before
the instructions are carried out: all of their ``Commit`` at once and first, then the others in
order. Therefore an entry is durable before anything that follows from it, and a trial is in the
journal before it is dispatched.

====================  ==========================================================================
event                 meaning
====================  ==========================================================================
``Joined, Left``      a worker offers slots; a worker is gone with all that ran on it
``Attached``          an attempt of an earlier coordinator still runs (before ``Joined``)
``Beat``              a worker is alive and says what runs there
``Reported``            an attempt that runs has finished an epoch
``Finished``          an attempt ended, in whatever way
``Proposed``          the answer to ``Propose``; fewer trials than asked: the space is exhausted
``Drain, Halt``       finish what runs and stop; stop at once, leaving trials pending
``Detach``            stop at once, leaving what runs to the next coordinator
``Tick``              nothing happened; handed in after the other events, it triggers proposals
====================  ==========================================================================

``Propose`` is about the history at that moment and may be answered much later; other events are
handled meanwhile, and there is one proposal at a time. What it was computed from is recorded with
its trials, so that a journal tells all that is needed to compute them again.

A training that is not worth its remaining epochs is ended by ``StopEarly``; its ``Finished`` has
status STOPPED, or OK if it was faster.

A trial may be attempted several times, but one attempt at a time counts. An attempt that was given
up keeps its slot until its end is known, and if it succeeds before a later one its result counts.
"""

from __future__ import annotations

from spot_dask.coordinator.messages import (
    Attached,
    Beat,
    Commit,
    Detach,
    Drain,
    Event,
    Finish,
    Finished,
    Halt,
    Instruction,
    Joined,
    Kill,
    Lease,
    Left,
    Policy,
    Propose,
    Proposed,
    Reported,
    Retries,
    Say,
    Start,
    Stop,
    StopEarly,
    Tick,
)
from spot_dask.coordinator.state import Coordinator

__all__ = [
    "Attached",
    "Beat",
    "Commit",
    "Coordinator",
    "Detach",
    "Drain",
    "Event",
    "Finish",
    "Finished",
    "Halt",
    "Instruction",
    "Joined",
    "Kill",
    "Lease",
    "Left",
    "Policy",
    "Propose",
    "Proposed",
    "Reported",
    "Retries",
    "Say",
    "Start",
    "Stop",
    "StopEarly",
    "Tick",
]
