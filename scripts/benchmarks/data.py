"""Files of data that no package ships: found in the folder that ``--data`` names."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks import Unavailable

VARIABLE = "SPOT_DASK_BENCH_DATA"


def find(name: str) -> Path:
    """The file of that relative path in the named folder or one below; Unavailable if none is."""
    given = os.environ.get(VARIABLE)
    suite = name.partition("/")[0]
    if not given:
        raise Unavailable(f"{suite} needs --data or {VARIABLE}: the folder with {name}")
    found = [Path(given) / name, *sorted(Path(given).glob(f"*/{name}"))]
    for path in found:
        if path.is_file():
            return path
    raise Unavailable(f"{suite}: {given} has no {name}")
