"""The tables of a run: columnar views of its journal, made anew at growing intervals.

::

    run.zarr/tables/zarr.json           group; its attribute ``latest`` names the newest generation
    run.zarr/tables/g<seq>/             a generation: the table of all records before ``seq``
    run.zarr/tables/g<seq>/zarr.json    its group: attributes and consolidated metadata
    run.zarr/tables/g<seq>/<column>/    array of n values along the dimension "evaluation"

A generation is written once, its group's document last, so that nobody ever sees half of it. That
document holds the digest of every column and its own checksum, and ``tables/zarr.json`` the digest
of the newest document: a column that is damaged, stale or another's is found. A table is a pure
function of the records: the journal is the truth. Who reads a run here leaves a damaged table
aside, with a warning, and reads the one before it or the journal; ``verify`` tells the damage.

zarr-python makes and reads the arrays, in memory; objects are written as all of a run are. Curves
are contiguous ragged arrays after the CF convention: ``curve.loss`` holds the points of all
evaluations one after the other, ``curve_size.loss`` how many each has. Missing values are
``_FillValue``; an index of a factor means a level in its attribute ``categories``. Only core data
types are used, save ``string`` for texts of errors, which no number depends on.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import math
import re
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from operator import index
from typing import Any
from urllib.parse import quote

import numpy as np

from spot_dask.codec import JSON, dump, from_json, load, number_from_json
from spot_dask.errors import SpotDaskError, StoreCorrupt
from spot_dask.fold import Arrival
from spot_dask.records import Entry, Header, Outcome, Record, Told, Wish, widened
from spot_dask.store.chain import NO_ENTRY, Tail
from spot_dask.store.journal import Journal
from spot_dask.store.layout import TABLES, chunk_key, header_checksum, unpacked, unpacked_size
from spot_dask.store.objects import MOST_BYTES, Backend
from spot_dask.store.table import (
    DTYPES,
    MISSING,
    Array,
    Column,
    CurveColumn,
    Kind,
    Table,
    following,
    tabulate,
)

logger = logging.getLogger(__name__)

FORMAT = "spot-dask-table"
SCHEMA = "1.1"
WITHOUT_DIGESTS = "1.0"
"""Tables of this schema are made anew and not read: swapped columns would go unnoticed."""

GROUP = "zarr.json"
HINT = f"{TABLES}/{GROUP}"
ROWS = "evaluation"
ROW_CHUNK = 16_384
TEXT_CHUNK = 1024
POINT_CHUNK = 262_144

FEWEST_NEW = 1000
GROWTH = 0.25
PAUSE_SECONDS = 60.0
KEPT_SECONDS = 3600.0
"""How long a generation can still be read after a newer one was published."""

PART = 4096
"""Records that are held at once while they become rows of a table."""

_DAMAGE = (*NO_ENTRY, OverflowError, StoreCorrupt)
_LONGEST_NAME = 200
_TYPES: dict[Kind, str] = {
    "real": "float64",
    "integer": "int64",
    "time": "int64",
    "factor": "int32",
    "text": "string",
}


@dataclass(frozen=True)
class Generation:
    """A published table.

    ``through`` is the end of the chain it covers, ``published`` the time of its making (seconds
    since the epoch, UTC), ``metadata`` the Zarr document of every array by name, ``digests`` of
    what each array is made of; none are known of a table of schema 1.0.
    """

    key: str
    document: bytes
    through: Tail
    rows: int
    published: float
    metadata: Mapping[str, JSON]
    digests: Mapping[str, str] | None


# ---------------------------------------------------------------- a table as objects


def encode_table(table: Table, about: JSON) -> dict[str, bytes]:
    """The objects of a Zarr v3 group that holds the table, by key; the group's document is last.

    ``about`` goes into the attribute ``spot_dask`` of the group.
    """
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec
    from zarr.storage import MemoryStore

    kept: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(kept), zarr_format=3)
    digests, metadata = {}, {}
    for name, kind, dimension, attributes, values in _arrays(table):
        longest = TEXT_CHUNK if kind == "text" else ROW_CHUNK if dimension == ROWS else POINT_CHUNK
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=_TYPES[kind],
            chunks=(min(longest, max(1, len(values))),),
            compressors=(ZstdCodec(level=1), Crc32cCodec()),
            fill_value=math.nan if kind == "real" else MISSING[kind],
            attributes=attributes,
            dimension_names=(dimension,),
            # A chunk of missing values is none of NaN, although the two are equal to Zarr.
            config={"write_empty_chunks": True},
        )
        if len(values):
            array[:] = values
    objects = {key: bytes(kept[key].to_bytes()) for key in sorted(kept) if key != GROUP}
    for name, *_ in _arrays(table):
        metadata[name] = load(objects[f"{name}/{GROUP}"])
        digests[name] = _digest(name, objects)
    own = {"format": FORMAT, "schema_version": SCHEMA, **about, "digests": digests}
    # Through JSON once, so that the checksum is that of what a reader will see.
    document = load(dump(_group({"Conventions": "CF-1.11", "spot_dask": own}, metadata)))
    document["attributes"]["spot_dask"]["crc32c"] = header_checksum(document)
    return {**objects, GROUP: _indented(document)}


def _group(attributes: JSON, metadata: Mapping[str, JSON]) -> JSON:
    """The document of a group with the documents of its arrays in it."""
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": attributes,
        "consolidated_metadata": {
            "kind": "inline", "must_understand": False, "metadata": metadata,
        },
    }  # fmt: skip


def decode_table(metadata: Mapping[str, JSON], objects: Mapping[str, bytes]) -> Table:
    """The table of the arrays with these documents; raises ValueError where it is damaged."""
    import zarr
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    for name, document in metadata.items():
        for key in _keys_of(name, document)[1:]:
            _check_chunk(key, document, objects[key])
    make = default_buffer_prototype().buffer.from_bytes
    group = dump(_group({}, metadata)).encode()
    store = MemoryStore({key: make(data) for key, data in {**objects, GROUP: group}.items()})
    try:
        opened = dict(zarr.open_group(store, mode="r", use_consolidated=True).arrays())
        found = {name: (doc, np.asarray(opened[name][...])) for name, doc in metadata.items()}
    except Exception as error:  # of any kind: these are zarr-python's, and its codecs'
        raise ValueError(f"zarr cannot read it: {error}") from error
    return _table_of(found)


def _check_chunk(key: str, document: JSON, data: bytes) -> None:
    """Raise ValueError where a chunk would take more memory than its values."""
    size = unpacked_size(data)
    if size is None or size > MOST_BYTES:
        raise ValueError(f"{key} unpacks to too many bytes")
    if document["data_type"] == "string" and unpacked(data)[:4] != struct.pack(
        "<I", *_chunk_shape(document)
    ):
        raise ValueError(f"{key} holds another number of texts")


def parse_group(data: bytes) -> tuple[JSON, dict[str, JSON]]:
    """The ``spot_dask`` attributes of a table's group and the documents of its arrays.

    Raises ValueError, KeyError, TypeError or AttributeError if this is no such group, or damaged.
    """
    document = load(data)
    if _indented(document) != data:
        raise ValueError("its metadata is not what was written")
    attributes: JSON = document["attributes"]["spot_dask"]
    crc = attributes.pop("crc32c")
    known = (SCHEMA, WITHOUT_DIGESTS)
    if attributes["format"] != FORMAT or attributes["schema_version"] not in known:
        raise ValueError(f"it is not a {FORMAT} of version {SCHEMA}")
    if header_checksum(document) != crc:
        raise ValueError("its metadata fails its checksum")
    metadata: dict[str, JSON] = document["consolidated_metadata"]["metadata"]
    for name, array in metadata.items():
        _check_array(name, array)
    return attributes, metadata


def _check_array(name: str, document: JSON) -> None:
    """Raise ValueError for an array that is none of a table: nothing else goes to zarr-python."""
    (length,), (chunk,), kind = document["shape"], _chunk_shape(document), document["data_type"]
    codecs = [codec["name"] for codec in document["codecs"]]
    if not (
        re.fullmatch(r"[\w.~-]+", name)
        and kind in _TYPES.values()
        and codecs == ["vlen-utf8" if kind == "string" else "bytes", "zstd", "crc32c"]
        and document.get("storage_transformers", []) == []
        and type(length) is type(chunk) is int
        and 0 < chunk <= POINT_CHUNK
        and 0 <= length <= MOST_BYTES
    ):
        raise ValueError(f"{name!r:.40} is no array of a table")


def node(name: str) -> str:
    """The name of an array: letters, digits and ``_.-`` stay, anything else becomes ``~XX``."""
    text = quote(name, safe="", errors="surrogatepass").replace("~", "%7E").replace("%", "~")
    if len(text) <= _LONGEST_NAME:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: _LONGEST_NAME - 20]}~~{digest}"


def about(header: Header) -> JSON:
    """What a table says about its run."""
    return {name: getattr(header, name) for name in ("run_id", "name", "objective", "direction")}


def _arrays(table: Table) -> Iterator[tuple[str, Kind, str, JSON, Array]]:
    """Name, kind, dimension, attributes and values of every array of a table."""
    for column in table.columns:
        yield node(column.name), column.kind, ROWS, _attributes(column), column.values
    for curve in table.curves:
        size, points = node(f"curve_size.{curve.name}"), node(f"curve.{curve.name}")
        attributes: JSON = {
            "spot_dask": {"curve_size": curve.name},
            "long_name": f"number of epochs of {curve.name}",
            "sample_dimension": f"{points}.point",
        }
        yield size, "integer", ROWS, attributes, curve.sizes
        attributes = {
            "spot_dask": {"curve": curve.name},
            "long_name": f"{curve.name} after each epoch, from epoch 1",
            "_FillValue": _cf_fill("real"),
        }
        yield points, "real", f"{points}.point", attributes, curve.values


def _attributes(column: Column) -> JSON:
    own = {"name": column.name, "kind": column.kind, "optional": column.optional}
    attributes: JSON = {"spot_dask": own, "long_name": column.long_name}
    if column.name != "trial":
        attributes["coordinates"] = "trial"
    if column.units:
        attributes["units"] = column.units
    if column.kind == "time":
        units = "microseconds since 1970-01-01"
        attributes |= {"units": units, "calendar": "proleptic_gregorian"}
    # Of complete integers there is none: xarray would make floats of them.
    lacks = column.kind == "integer" and column.optional and bool(column.missing.any())
    if column.kind in ("real", "time") or lacks:
        attributes["_FillValue"] = _cf_fill(column.kind)
    if column.kind == "factor":
        words = [re.sub(r"\s+", "_", str(level).strip()) or "_" for level in column.levels]
        attributes["categories"] = list(column.levels)
        attributes["flag_values"] = list(range(len(column.levels)))
        attributes["flag_meanings"] = " ".join(words)
    return attributes


def _cf_fill(kind: Kind) -> int | str:
    """``_FillValue`` as xarray writes it into Zarr v3: base64 of a float, an integer as it is."""
    if kind == "real":
        return base64.b64encode(struct.pack("<d", math.nan)).decode()
    return int(MISSING[kind])


def _table_of(found: Mapping[str, tuple[JSON, Array]]) -> Table:
    columns, sizes, points = [], {}, {}
    for document, values in found.values():
        attributes = document["attributes"]
        own = attributes["spot_dask"]
        if "curve_size" in own:
            sizes[own["curve_size"]] = values
        elif "curve" in own:
            points[own["curve"]] = values
        else:
            kind: Kind = own["kind"]
            columns.append(
                Column(
                    name=own["name"],
                    kind=kind,
                    values=values.astype(DTYPES[kind], copy=False),
                    levels=tuple(attributes.get("categories", ())),
                    optional=own["optional"],
                    units="" if kind == "time" else attributes.get("units", ""),
                    long_name=attributes["long_name"],
                )
            )
    curves = tuple(CurveColumn(name, sizes[name], points[name]) for name in sizes)
    return Table(tuple(columns), curves)


def _indented(document: JSON) -> bytes:
    return json.dumps(document, allow_nan=False, indent=1).encode()


def _chunk_shape(document: JSON) -> list[int]:
    shape: list[int] = document["chunk_grid"]["configuration"]["chunk_shape"]
    return shape


def _keys_of(name: str, document: JSON) -> list[str]:
    """The keys of an array's objects below the table's."""
    (length,), (chunk,) = document["shape"], _chunk_shape(document)
    return [f"{name}/{GROUP}", *(f"{name}/c/{i}" for i in range(-(-length // chunk)))]


def _digest(name: str, objects: Mapping[str, bytes]) -> str:
    """The digest of an array: of the keys and bytes of its objects."""
    document = load(objects[f"{name}/{GROUP}"])
    found = hashlib.sha256()
    for key in _keys_of(name, document):
        found.update(f"{key} {len(objects[key])}\n".encode())
        found.update(objects[key])
    return found.hexdigest()


# ---------------------------------------------------------------- reading


def read(journal: Journal, end: int | None = None) -> Table:
    """The table of a run's records (before ``end``, if given), every byte of it checked.

    It is the newest intact table in the store, continued by the records that came since. Raises
    StoreCorrupt where one of those is damaged.
    """
    end = journal.count() if end is None else end
    found = _newest(journal, end)
    table, tail = found or (tabulate(journal.header, ()), journal.start)
    commits = journal.follow(tail)
    while tail.seq < end:
        part = list(islice(commits, min(PART, end - tail.seq)))
        if not part:
            raise StoreCorrupt(f"{chunk_key(tail.seq)} is missing")
        fold, tail = following(table), part[-1][1]
        for records, _ in part:
            for record in records:
                fold.take(record)
        table = tabulate(journal.header, fold.rows, table)
    return table


def _newest(journal: Journal, end: int) -> tuple[Table, Tail] | None:
    """The newest intact table of records before ``end``, and the end of the chain it covers."""
    for generation in generations(journal.backend, journal.header):
        if generation.through.seq > end or generation.digests is None:
            continue  # published since, or by an older version
        if not journal.reaches(generation.through):
            logger.warning("%s is not a table of this journal; ignored", generation.key)
            continue
        try:
            objects = _objects(journal.backend, generation)
            table = decode_table(generation.metadata, objects)
        except _DAMAGE as error:
            logger.warning("%s is damaged (%s); ignored", generation.key, error)
            continue
        return table, generation.through
    return None


def generations(backend: Backend, header: Header) -> Iterator[Generation]:
    """The published generations of a run, the newest first; damaged ones are left out."""
    for key in _keys(backend):
        try:
            generation = _generation(backend, key, header)
        except _DAMAGE as error:
            logger.warning("%s is damaged (%s); ignored", key, error)
            continue
        if generation is not None:
            yield generation


def _keys(backend: Backend) -> list[str]:
    """Where there are generations, finished or not, the newest first."""
    names = (name for name in backend.names(TABLES) if name.startswith("g"))
    return [f"{TABLES}/{name}" for name in sorted(names, reverse=True)]


def _generation(backend: Backend, key: str, header: Header) -> Generation | None:
    """A generation, None if it was never finished; raises one of ``_DAMAGE``."""
    data = backend.get(f"{key}/{GROUP}")
    if data is None:
        return None
    attributes, metadata = parse_group(data)
    if attributes["run_id"] != header.run_id:
        raise ValueError(f"it is a table of run {attributes['run_id']}")
    through = from_json(Tail, attributes["through"])
    if key != _key(through):
        raise ValueError(f"it is the table of {_key(through)}")
    digests = attributes["digests"] if attributes["schema_version"] == SCHEMA else None
    if digests is not None and digests.keys() != metadata.keys():
        raise ValueError("it has columns without a digest")
    rows, published = index(attributes["rows"]), number_from_json(attributes["published"])
    return Generation(key, data, through, rows, published, metadata, digests)


def _key(through: Tail) -> str:
    return f"{TABLES}/g{through.seq:010d}"


def _objects(backend: Backend, generation: Generation) -> dict[str, bytes]:
    """The objects of a generation's arrays; raises ValueError naming what is missing or damaged."""
    metadata = generation.metadata
    keys = [key for name, document in metadata.items() for key in _keys_of(name, document)]
    objects = {}
    found = backend.get_many([f"{generation.key}/{key}" for key in keys])
    for key, data in zip(keys, found, strict=True):
        if data is None:
            raise ValueError(f"{generation.key}/{key} is missing")
        objects[key] = data
    for name, document in metadata.items():
        if load(objects[f"{name}/{GROUP}"]) != document:
            raise ValueError(f"{name}/{GROUP} is not that of the group")
        if generation.digests is not None and _digest(name, objects) != generation.digests[name]:
            raise ValueError(f"{name} is not what was written: its digest is wrong")
        if generation.digests is None and _indented(document) != objects[f"{name}/{GROUP}"]:
            raise ValueError(f"{name}/{GROUP} is damaged")
    return objects


# ---------------------------------------------------------------- checking


def problems(
    journal: Journal,
    rows: Sequence[Arrival] | None = None,
    header: Header | None = None,
    copied: int | None = None,
) -> Iterator[str]:
    """What is wrong with the published tables, one line each; looks at every byte of them.

    In a copy of ``copied`` records, made while the run was written, a table may be of others that
    are not there, and the newest one may be missing.

    ``rows`` are those of the journal's fold, which the tables are compared with; None, and not
    compared, where the journal itself is damaged. ``header`` is the journal's, or that of
    ``records.widened`` where ranges were changed.
    """
    backend, found = journal.backend, {}
    for key in _keys(backend):
        try:
            generation = _generation(backend, key, journal.header)
            if generation is None:
                continue
            found[generation.key] = generation
            if copied is not None and generation.through.seq > copied:
                continue
            if not journal.reaches(generation.through):
                yield f"{key} does not belong to the journal"
                continue
            for name in sorted({*backend.names(key)} - {GROUP, *generation.metadata}):
                yield f"{key}/{name} is no part of the table"
            metadata, objects = generation.metadata, _objects(backend, generation)
            if rows is not None or generation.digests is None:
                table = decode_table(metadata, objects)
            if rows is not None:
                covered = [row for row in rows if row.seq < generation.through.seq]
                yield from _differences(key, table, tabulate(header or journal.header, covered))
        except _DAMAGE as error:
            yield f"{key} is damaged: {error}"
    yield from _hint_problems(backend.get(HINT), found, copied is not None)


def _hint_problems(
    data: bytes | None, found: Mapping[str, Generation], copied: bool
) -> Iterator[str]:
    """What is wrong with the document that names the newest table.

    It may name an older one, if a coordinator was killed when it had published a newer one.
    """
    if data is None:
        if found:
            yield f"{HINT} is missing"
        return
    try:
        latest = load(data)["attributes"].get("latest")
        if copied and f"{TABLES}/{latest}" not in found:
            return
        generation = found[f"{TABLES}/{latest}"] if latest is not None else None
        if data != _hint(generation):
            yield f"{HINT} is damaged"
    except _DAMAGE as error:
        yield f"{HINT} is damaged: {error}"


def _differences(key: str, table: Table, other: Table) -> Iterator[str]:
    """The columns and curves that two tables do not have alike."""
    mine, theirs = (
        {c.name: _content(c) for c in t.columns}
        | {f"curve.{c.name}": _content(c) for c in t.curves}
        for t in (table, other)
    )
    for name in mine | theirs:
        if name not in mine or name not in theirs:
            yield f"{key}: {name} is in the {'table' if name in mine else 'journal'} only"
        elif mine[name] != theirs[name]:
            yield f"{key}: {name} is not what the journal says"


def _content(column: Column | CurveColumn) -> object:
    """The values to the bit, and of a factor the levels: another version may count them anew."""
    if isinstance(column, CurveColumn):
        return column.sizes.tobytes(), column.values.tobytes()
    if column.kind == "factor":
        labels = [*map(repr, column.levels), ""]
        return column.kind, [labels[code] for code in column.values]
    values = column.values
    return column.kind, values.tolist() if column.kind == "text" else values.tobytes()


# ---------------------------------------------------------------- writing


def publish(backend: Backend, header: Header, rows: Sequence[Arrival], through: Tail) -> None:
    """Write the table of all records up to ``through``, unless it is there; remove outdated ones.

    Raises StoreError; a reader then still has the tables from before.
    """
    key = _key(through)
    # A table bears witness to its records: they must not be lost without it.
    backend.settle(chunk_key(through.seq - 1))
    if backend.get(HINT) is None:  # before the first table, so that its loss is noticed
        backend.put_any(HINT, _hint(None))
    if backend.get(f"{key}/{GROUP}") is None:
        table = tabulate(header, rows)
        attributes = {
            **about(header),
            "rows": len(table),
            "through": asdict(through),
            "published": time.time(),
        }
        write_table(backend, key, table, attributes)
    # In a copy there may be one of later records, which are not there.
    published = [g for g in generations(backend, header) if g.through.seq <= through.seq]
    if published:
        backend.put_any(HINT, _hint(published[0]))
        _prune(backend, published)
    backend.sweep(TABLES)


def write_table(backend: Backend, key: str, table: Table, attributes: JSON) -> None:
    """Write a table below ``key``, what makes it visible last."""
    prefix = f"{key}/" if key else ""
    objects = encode_table(table, attributes)
    document = objects.pop(GROUP)
    backend.put_all((f"{prefix}{name}", data) for name, data in objects.items())
    backend.put_new(f"{prefix}{GROUP}", document)


def _hint(newest: Generation | None) -> bytes:
    """Metadata of the group of tables; what it says can be derived from their names."""
    attributes = {}
    if newest is not None:
        attributes["latest"] = newest.key.rpartition("/")[2]
        if newest.digests is not None:
            attributes["digest"] = hashlib.sha256(newest.document).hexdigest()
    return _indented({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def _prune(backend: Backend, published: Sequence[Generation]) -> None:
    """Remove the tables that nobody can still be reading.

    The newest two stay, and each older one for an hour after the one that follows it appeared.
    What is older than the newest one and was never finished goes, too: only a coordinator that was
    taken over could still be writing there, see ``Backend.remove_tree``.
    """
    kept = {generation.key for generation in published[:2]}
    for newer, older in pairwise(published):
        if time.time() - newer.published < KEPT_SECONDS:
            kept.add(older.key)
    for key in _keys(backend):
        if key < published[0].key and key not in kept:
            backend.remove_tree(key)


class TableKeeper:
    """A journal with a fold, as a Store that keeps the tables up to date.

    They are made in a thread of their own after the number of evaluations has grown by a quarter
    (at least by 1000, at most once a minute), and at the end. A table that cannot be written is a
    warning: nothing is lost by it.
    """

    def __init__(self, journal: Journal) -> None:
        assert journal.fold is not None
        self.header: Header = journal.header
        self.fold = journal.fold
        self._journal = journal
        newest = next(generations(journal.backend, journal.header), None)
        self._rows = 0 if newest is None else newest.rows
        self._new = 0
        self._began = time.monotonic()
        self._thread: threading.Thread | None = None
        self._failing = False

    def commit(self, entries: Sequence[Entry]) -> list[Record]:
        """As the journal does."""
        self._failing = True
        records = self._journal.commit(entries)
        self._failing = False
        self._new += sum(isinstance(entry, Told) for entry in entries)
        if self._due():
            self._start()
        return records

    def left(self, number: int, attempt: int) -> Outcome | None:
        """As the journal says."""
        return self._journal.left(number, attempt)

    @property
    def stop_requested(self) -> bool:
        """As the journal says."""
        return self._journal.stop_requested

    @property
    def paused(self) -> bool:
        """As the journal says."""
        return self._journal.paused

    def wishes(self) -> list[Wish]:
        """As the journal says."""
        return self._journal.wishes()

    def range_wishes(self) -> list[Wish]:
        """As the journal says."""
        return self._journal.range_wishes()

    def grant(self, wish: Wish) -> None:
        """As the journal does."""
        self._journal.grant(wish)

    def close(self) -> None:
        """Publish the last table, unless the journal cannot be written; leaves the journal open."""
        if self._thread is not None:
            self._thread.join()
        if not (self._failing or self._journal.gone):
            self._publish(self.fold.rows, self._journal.tail)

    def _due(self) -> bool:
        return (
            self._new > max(FEWEST_NEW, GROWTH * self._rows)
            and time.monotonic() - self._began > PAUSE_SECONDS
            and (self._thread is None or not self._thread.is_alive())
        )

    def _start(self) -> None:
        self._rows, self._new, self._began = self._rows + self._new, 0, time.monotonic()
        found = (self.fold.rows, self._journal.tail)
        self._thread = threading.Thread(
            target=self._publish, args=found, name="spot-dask-tables", daemon=True
        )
        self._thread.start()

    def _publish(self, rows: Sequence[Arrival], through: Tail) -> None:
        try:
            header = widened(self.header, self.fold.settings)
            publish(self._journal.backend, header, rows, through)
        except SpotDaskError as error:
            logger.warning("the tables of the run were not renewed: %s", error)
