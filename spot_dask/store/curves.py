"""Long learning curves in arrays of their own, so that a record stays small.

A record whose curves have more than ``LARGE`` values names an array instead of holding them::

    curves/<name>/zarr.json, c/0    one float64 array, all curves of the record end to end

The array's name is the digest of its chunk, so it can be created again after a failure, is never
replaced, and cannot be taken for another one. It is durable before the record that names it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from operator import index

import numpy as np
from numpy.typing import NDArray

from spot_dask.codec import JSON
from spot_dask.store.layout import packed, unpacked

LARGE = 8192
"""Values; as JSON about 160 kB."""

CURVES = "curves"
GROUP = f"{CURVES}/zarr.json"
GROUP_DOCUMENT = json.dumps(
    {"zarr_format": 3, "node_type": "group", "attributes": {}}, indent=2
).encode()


@dataclass(frozen=True)
class SideArray:
    """An encoded array, ready to be written: ``chunk`` first, then ``metadata``."""

    name: str
    chunk: bytes
    metadata: bytes

    @property
    def objects(self) -> dict[str, bytes]:
        """Key -> bytes, in the order in which they must be written."""
        return {
            chunk_of(self.name): self.chunk,
            metadata_of(self.name): self.metadata,
            GROUP: GROUP_DOCUMENT,
        }


def chunk_of(name: str) -> str:
    return f"{CURVES}/{name}/c/0"


def metadata_of(name: str) -> str:
    return f"{CURVES}/{name}/zarr.json"


def detach(body: JSON, entries: int = 1) -> tuple[JSON, SideArray | None]:
    """An entry without its curves, and these as an array; as it was if they are few.

    Few are so many that the record stays small if each of its ``entries`` has as many.
    """
    curves = _outcome(body).get("curves", {})
    sizes = {name: len(curve) for name, curve in curves.items()}
    if entries * sum(sizes.values()) <= LARGE:
        return body, None
    array = encode(np.array([*map(float, chain.from_iterable(curves.values()))]))
    return _with_curves(body, {}, {"array": array.name, "sizes": sizes}), array


def attach(body: JSON, get: Callable[[str], bytes | None]) -> JSON:
    """The inverse of ``detach``; raises ValueError if the array is missing or damaged."""
    place = _outcome(body).get("curves_in")
    if place is None:
        return body
    name, sizes = place["array"], place["sizes"]
    if not re.fullmatch("[0-9a-f]{32}", name) or min(map(index, sizes.values()), default=0) < 0:
        raise ValueError(f"{place!r:.80} names no array of curves")
    values = decode(name, get(chunk_of(name))).tolist()
    if sum(sizes.values()) != len(values):
        raise ValueError(f"{chunk_of(name)} has {len(values)} values, not {sizes}")
    cuts = pairwise(accumulate(sizes.values(), initial=0))
    return _with_curves(body, {n: values[a:b] for n, (a, b) in zip(sizes, cuts, strict=True)})


def encode(values: NDArray[np.float64]) -> SideArray:
    """A vector as an array of one chunk: little-endian, then zstd, then crc32c."""
    chunk = packed(values.astype("<f8").tobytes())
    name = hashlib.sha256(chunk).hexdigest()[:32]
    return SideArray(name, chunk, metadata(len(values)))


def decode(name: str, chunk: bytes | None) -> NDArray[np.float64]:
    """The vector of an array's chunk; raises ValueError where any byte is not as written."""
    if chunk is None:
        raise ValueError(f"{chunk_of(name)} is missing")
    if hashlib.sha256(chunk).hexdigest()[:32] != name:
        raise ValueError(f"{chunk_of(name)} is not what was written: its digest is wrong")
    return np.frombuffer(unpacked(chunk), "<f8")


def metadata(length: int) -> bytes:
    """The Zarr metadata of an array of that many values."""
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [length],
        "data_type": "float64",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [length]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
            {"name": "crc32c"},
        ],
        "attributes": {},
    }
    return json.dumps(document, indent=2).encode()


def _outcome(body: JSON) -> JSON:
    """The one outcome that a record may hold."""
    items = body["items"]
    found = items[0].get("outcome", {}) if len(items) == 1 else {}
    return found if isinstance(found, dict) else {}


def _with_curves(body: JSON, curves: JSON, place: JSON | None = None) -> JSON:
    (item,) = body["items"]
    outcome = {k: v for k, v in item["outcome"].items() if k != "curves_in"} | {"curves": curves}
    if place is not None:
        outcome["curves_in"] = place
    return {**body, "items": [{**item, "outcome": outcome}]}
