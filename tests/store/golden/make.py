"""Make the golden store of the present schema: ``python tests/store/golden/make.py``.

Run it once when the schema's version has changed, and keep what it writes: later versions must go
on reading it. It holds an entry of every kind, numbers that are not finite and an array of curves.
"""

from __future__ import annotations

import dataclasses
import socket
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from store_examples import HEADER, failed, stopped, succeeded, trial

from spot_dask.records import (
    Asked,
    Closed,
    Evaluation,
    Import,
    Imported,
    Outcome,
    Retried,
    Status,
    Told,
)
from spot_dask.store import curves
from spot_dask.store.journal import Journal
from spot_dask.store.layout import SCHEMA


def main() -> None:
    name = "schema-{}.{}".format(*SCHEMA)
    target = Path(__file__).with_name(f"{name}.tar.xz")
    assert not target.exists(), f"{target} is what later versions must read: it never changes"
    socket.gethostname = lambda: "gpu7"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        journal = Journal.create(path, HEADER)
        item = Import({"lr": 0.1}, float("inf"), "r0", 5)
        journal.append(Imported("old.zarr", (item,), ("trial 6: unknown",)))
        journal.append(Asked(tuple(map(trial, range(5)))))
        journal.commit([succeeded(0), failed(1)])
        journal.append(Retried(2, 0, Outcome(Status.LOST)))
        journal.append(stopped(4))
        journal.append(Closed("SIGINT"))
        journal.close()
        journal = Journal.resume(path, settings={"budget": {"evaluations": 40, "wall": None}})
        curves.LARGE = 100
        long = {"loss": tuple(1 / n for n in range(1, 200)), "nothing": ()}
        outcome = dataclasses.replace(succeeded(2).evaluation.outcome, curves=long)
        journal.append(Told(Evaluation(trial(2), outcome, 1)))
        journal.append(Closed("budget"))
        journal.close()
        with tarfile.open(target, "w:xz") as archive:
            archive.add(path, name)


if __name__ == "__main__":
    main()
