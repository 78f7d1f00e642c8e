"""Where the objects of a run are kept: a directory or an object store, by its address."""

from __future__ import annotations

import re
from pathlib import Path

from spot_dask.errors import StoreError
from spot_dask.settings import Durability
from spot_dask.store.bucket import bucket_at
from spot_dask.store.files import Directory
from spot_dask.store.objects import Backend

SCHEMES = ("s3", "gs", "az")

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def address(store: str | Path) -> Path | str:
    """A store's address: a path, or the URL of an object store as text.

    Raises StoreError for what is neither; the line does not repeat what may be a secret.
    """
    found = _URL.match(str(store))
    if found is None:
        if isinstance(store, Path) and str(store).startswith(tuple(f"{s}:/" for s in SCHEMES)):
            raise StoreError(f"{store} was a URL before it became a Path: give it as text")
        return Path(store)
    scheme, (bucket, _, key) = found[1], found[2].partition("/")
    if "@" in bucket or "?" in found[2] or "#" in found[2]:
        raise StoreError(
            f"a {scheme}:// address with more than bucket and path: credentials belong in the "
            "environment, an address is like s3://bucket/run.zarr"
        )
    if scheme not in SCHEMES or not bucket or not key.strip("/"):
        known = ", ".join(f"{each}://bucket/run.zarr" for each in SCHEMES)
        raise StoreError(f"no store can be at {store}: expected a path or one of {known}")
    return f"{scheme}://{bucket}/{key.strip('/')}"


def backend_at(store: str | Path, durability: Durability) -> Backend:
    """The backend of a store's address; an object store is durable in either way."""
    where = address(store)
    return bucket_at(where) if isinstance(where, str) else Directory(where, durability)
