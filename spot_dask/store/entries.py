"""Entries of the journal <-> JSON: what a record says, apart from its place in the chain.

A record that holds several entries is of kind ``batch``, and its items are what records that hold
one of them each would say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spot_dask import codec
from spot_dask.records import Asked, Closed, Entry, Imported, Opened, Retried, Told

JSON = dict[str, Any]
Items = list[JSON]


BATCH = "batch"


class UnknownKind(ValueError):
    """A kind of entry that this version does not know."""


def entry_to_json(entry: Entry) -> JSON:
    """``{"kind": ..., "items": [...]}``."""
    return {"kind": kind_of(entry), "items": _items(entry)}


def entry_from_json(data: JSON) -> Entry:
    """The entry of a record; raises ValueError, KeyError or TypeError where it is not one."""
    kind, items = data["kind"], data["items"]
    if kind not in _FROM_ITEMS:
        raise UnknownKind(f"no entry of kind {kind!r}; there are: {', '.join(_FROM_ITEMS)}")
    entry = _FROM_ITEMS[kind](items)
    if kind_of(entry) != kind:
        raise ValueError(f"an entry of kind {kind!r} holds one of kind {kind_of(entry)!r}")
    return entry


def joined(bodies: Sequence[JSON]) -> JSON:
    """What a record says that holds these entries."""
    return bodies[0] if len(bodies) == 1 else {"kind": BATCH, "items": list(bodies)}


def separated(body: JSON) -> list[JSON]:
    """The inverse of ``joined``."""
    return list(body["items"]) if body["kind"] == BATCH else [body]


def kind_of(entry: Entry) -> str:
    """The kind under which an entry is recorded."""
    match entry:
        case Told(evaluation):
            if evaluation.stopped:
                return "stop"
            return "tell" if evaluation.ok else "fail"
        case Opened():
            return "open"
        case Asked():
            return "ask"
        case Retried():
            return "retry"
        case Imported():
            return "import"
        case Closed():
            return "close"


def _items(entry: Entry) -> Items:
    match entry:
        case Opened(host, pid, settings):
            return [{"host": host, "pid": pid, "settings": settings}]
        case Asked(trials, known, q):
            basis = {"known": known, "q": q}
            return [codec.trial_to_json(trial) | basis for trial in trials]
        case Told(evaluation):
            return [codec.evaluation_to_json(evaluation)]
        case Retried(number, attempt, outcome):
            outcome_json = codec.outcome_to_json(outcome)
            return [{"number": number, "attempt": attempt, "outcome": outcome_json}]
        case Imported():
            return [_imported_to_json(entry)]
        case Closed(reason):
            return [{"reason": reason}]


def _imported_to_json(entry: Imported) -> JSON:
    return {
        "source": entry.source,
        "mode": entry.mode,
        "items": [codec.import_to_json(item) for item in entry.items],
        "dropped": list(entry.dropped),
        "assumed": list(entry.assumed),
    }


def _only(items: Items) -> JSON:
    (item,) = items
    return item


def _opened(items: Items) -> Opened:
    item = _only(items)
    return Opened(item["host"], item["pid"], item["settings"])


def _asked(items: Items) -> Asked:
    basis = items[0] if items else {}
    trials = tuple(map(codec.trial_from_json, items))
    return Asked(trials, basis.get("known"), basis.get("q"))


def _told(items: Items) -> Told:
    return Told(codec.evaluation_from_json(_only(items)))


def _retried(items: Items) -> Retried:
    item = _only(items)
    return Retried(item["number"], item["attempt"], codec.outcome_from_json(item["outcome"]))


def _imported(items: Items) -> Imported:
    item = _only(items)
    imports: Sequence[Any] = tuple(map(codec.import_from_json, item["items"]))
    # Records without a mode are older than priors.
    mode, assumed = item.get("mode", "data"), tuple(item.get("assumed", ()))
    return Imported(item["source"], imports, tuple(item["dropped"]), mode, assumed)


def _closed(items: Items) -> Closed:
    return Closed(_only(items)["reason"])


_FROM_ITEMS: dict[str, Callable[[Items], Entry]] = {
    "open": _opened,
    "ask": _asked,
    "tell": _told,
    "fail": _told,
    "stop": _told,
    "retry": _retried,
    "import": _imported,
    "close": _closed,
}
