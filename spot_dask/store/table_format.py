"""What a table looks like as a Zarr v3 group: metadata documents and chunk bytes.

::

    <table>/zarr.json           group: attributes and the consolidated metadata of all arrays
    <table>/<column>/zarr.json  array of n values along the dimension "evaluation"
    <table>/<column>/c/<i>      chunks: little endian (or vlen-utf8), then zstd, then crc32c

Curves are contiguous ragged arrays after the CF convention: ``curve.loss`` holds the points of
all evaluations one after the other, ``curve_size.loss`` how many each has. Missing values are
``_FillValue``; an index of a factor means a level in its attribute ``categories``.

Only core data types are used, save ``string`` for texts of errors, which no number depends on.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import google_crc32c
import numpy as np
from numcodecs import zstd
from numcodecs.vlen import VLenUTF8

from spot_dask.store.layout import checksum, dump, header_checksum, load
from spot_dask.store.table import DTYPES, MISSING, Array, Column, Curve, Kind, Table

FORMAT = "spot-dask-table"
SCHEMA = "1.0"
ROWS = "evaluation"
ROW_CHUNK = 16_384
POINT_CHUNK = 262_144

JSON = dict[str, Any]
Arrays = Sequence[tuple[str, JSON, Array]]

_LONGEST_NAME = 200
_TYPES: dict[Kind, str] = {
    "real": "float64",
    "integer": "int64",
    "time": "int64",
    "factor": "int32",
    "text": "string",
}
_FILLS: dict[Kind, Any] = {**MISSING, "real": "NaN"}
_TIME_UNITS = "microseconds since 1970-01-01"


def node(name: str) -> str:
    """The name of an array: letters, digits and ``_.-`` stay, anything else becomes ``~XX``."""
    text = quote(name, safe="", errors="surrogatepass").replace("~", "%7E").replace("%", "~")
    if len(text) <= _LONGEST_NAME:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: _LONGEST_NAME - 20]}~~{digest}"


# ---------------------------------------------------------------- table -> documents and arrays


def arrays(table: Table) -> Arrays:
    """Name, metadata document and values of every array of a table."""
    found: list[tuple[str, JSON, Array]] = []
    for column in table.columns:
        document = _document(column.kind, len(table), ROWS, ROW_CHUNK, _attributes(column))
        found.append((node(column.name), document, column.values))
    for curve in table.curves:
        size, points = node(f"curve_size.{curve.name}"), node(f"curve.{curve.name}")
        sizes = {
            "spot_dask": {"curve_size": curve.name},
            "long_name": f"number of epochs of {curve.name}",
            "sample_dimension": f"{points}.point",
        }
        values = {
            "spot_dask": {"curve": curve.name},
            "long_name": f"{curve.name} after each epoch, from epoch 1",
            "_FillValue": _cf_fill("real"),
        }
        found.append((size, _document("integer", len(table), ROWS, ROW_CHUNK, sizes), curve.sizes))
        document = _document("real", len(curve.values), f"{points}.point", POINT_CHUNK, values)
        found.append((points, document, curve.values))
    return found


def group_document(metadata: dict[str, JSON], attributes: JSON) -> bytes:
    """Metadata of a table's group, under its own checksum."""
    document: JSON = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {
            "Conventions": "CF-1.11",
            "spot_dask": {"format": FORMAT, "schema_version": SCHEMA, **attributes},
        },
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": metadata,
        },
    }
    # Through JSON once, so that the checksum is that of what a reader will see.
    document = load(dump(document))
    document["attributes"]["spot_dask"]["crc32c"] = header_checksum(document)
    return array_document(document)


def array_document(document: JSON) -> bytes:
    return json.dumps(document, allow_nan=False, indent=1).encode()


def _document(kind: Kind, n: int, dimension: str, longest: int, attributes: JSON) -> JSON:
    codecs: list[JSON] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    if kind == "text":
        codecs = [{"name": "vlen-utf8"}]
    codecs += [
        {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
        {"name": "crc32c"},
    ]
    length = min(longest, max(1, n))
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [n],
        "data_type": _TYPES[kind],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [length]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _FILLS[kind],
        "codecs": codecs,
        "dimension_names": [dimension],
        "attributes": attributes,
    }


def _attributes(column: Column) -> JSON:
    own = {"name": column.name, "kind": column.kind, "optional": column.optional}
    attributes: JSON = {"spot_dask": own, "long_name": column.long_name}
    if column.name != "trial":
        attributes["coordinates"] = "trial"
    if column.units:
        attributes["units"] = column.units
    if column.kind == "time":
        attributes |= {"units": _TIME_UNITS, "calendar": "proleptic_gregorian"}
    if column.kind in ("real", "time") or (column.kind == "integer" and column.optional):
        attributes["_FillValue"] = _cf_fill(column.kind)
    if column.kind == "factor":
        attributes["categories"] = list(column.levels)
        attributes["flag_values"] = list(range(len(column.levels)))
        attributes["flag_meanings"] = " ".join(map(_one_word, column.levels))
    return attributes


def _cf_fill(kind: Kind) -> int | str:
    """``_FillValue`` as xarray writes it into Zarr v3: base64 of a float, an integer as it is."""
    if kind == "real":
        return base64.b64encode(struct.pack("<d", math.nan)).decode()
    return int(MISSING[kind])


def _one_word(level: object) -> str:
    return re.sub(r"\s+", "_", str(level).strip()) or "_"


# ---------------------------------------------------------------- documents and arrays -> table


def parse_group(data: bytes) -> tuple[JSON, dict[str, JSON]]:
    """The ``spot_dask`` attributes of a table's group and the documents of its arrays.

    Raises ValueError, KeyError or TypeError if this is not such a group, or a damaged one.
    """
    document = load(data)
    attributes: JSON = document["attributes"]["spot_dask"]
    crc = attributes.pop("crc32c")
    if attributes["format"] != FORMAT or attributes["schema_version"] != SCHEMA:
        raise ValueError(f"it is not a {FORMAT} of version {SCHEMA}")
    if header_checksum(document) != crc:
        raise ValueError("its metadata fails its checksum")
    return attributes, document["consolidated_metadata"]["metadata"]


def table_of(found: dict[str, tuple[JSON, Array]]) -> Table:
    """The table of arrays by name: their documents and values."""
    columns, sizes, points = [], {}, {}
    for document, values in found.values():
        attributes = document["attributes"]
        own = attributes["spot_dask"]
        if "curve_size" in own:
            sizes[own["curve_size"]] = values
        elif "curve" in own:
            points[own["curve"]] = values
        else:
            columns.append(
                Column(
                    name=own["name"],
                    kind=own["kind"],
                    values=values,
                    levels=tuple(attributes.get("categories", ())),
                    optional=own["optional"],
                    units="" if own["kind"] == "time" else attributes.get("units", ""),
                    long_name=attributes["long_name"],
                )
            )
    curves = tuple(Curve(name, sizes[name], points[name]) for name in sizes)
    return Table(tuple(columns), curves)


# ---------------------------------------------------------------- chunks


def chunk_keys(document: JSON) -> list[str]:
    """Where the chunks of an array are, below it."""
    return [f"c/{i}" for i in range(-(-document["shape"][0] // _chunk_length(document)))]


def encoded_chunks(document: JSON, values: Array) -> Iterator[bytes]:
    """The bytes of every chunk of an array; the last one is filled up to its full length."""
    length = _chunk_length(document)
    for start in range(0, len(values), length):
        part = values[start : start + length]
        if len(part) < length:
            filler = np.full(length - len(part), _filler(document), values.dtype)
            part = np.concatenate([part, filler])
        raw = VLenUTF8().encode(part) if part.dtype == object else part.tobytes()
        packed = bytes(zstd.compress(raw, 1))
        yield packed + struct.pack("<I", google_crc32c.value(packed))


def decode_chunk(document: JSON, data: bytes) -> Array:
    """The values of a chunk; raises ValueError where any byte is not as written."""
    if len(data) < 4 or google_crc32c.value(data[:-4]) != checksum(data):
        raise ValueError("its checksum is wrong")
    raw = zstd.decompress(data[:-4])
    if document["data_type"] == "string":
        return np.asarray(VLenUTF8().decode(raw), dtype=object)
    return np.frombuffer(raw, _dtype(document))


def assembled(document: JSON, chunks: Sequence[Array]) -> Array:
    """The values of an array from those of its chunks."""
    whole = np.concatenate(chunks) if chunks else np.empty(0, _dtype(document))
    return whole[: document["shape"][0]]


def _chunk_length(document: JSON) -> int:
    return int(document["chunk_grid"]["configuration"]["chunk_shape"][0])


def _dtype(document: JSON) -> Any:
    kinds = {name: DTYPES[kind] for kind, name in _TYPES.items()}
    return kinds[document["data_type"]]


def _filler(document: JSON) -> Any:
    fill = document["fill_value"]
    return float(fill) if document["data_type"] == "float64" else fill
