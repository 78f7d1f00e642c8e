"""What the store looks like as a Zarr v3 hierarchy: metadata documents and chunk bytes.

::

    run.zarr/zarr.json              root group; attributes.spot_dask holds the header
    run.zarr/log/zarr.json          string array of shape (blocks, 1000), chunks (1, 1)
    run.zarr/log/c/<block>/<index>  one record: JSON text as vlen-utf8, then zstd, then crc32c

Any Zarr v3 reader can read it. The documents are written out here rather than by zarr-python
because it neither syncs nor creates exclusively, and because a reader of runs then starts fast.
"""

from __future__ import annotations

import dataclasses
import json
import struct

import google_crc32c
from numcodecs import zstd

from spot_dask.codec import JSON, dump, from_json, load
from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.records import Header
from spot_dask.store.objects import MOST_BYTES, ROOT

FORMAT = "spot-dask-run"
SCHEMA = (1, 1)
BLOCK = 1000
"""Records per block: one directory (one page of an object store's listing) each."""

LOG = "log/zarr.json"
CHUNKS = "log/c"
TABLES = "tables"


def block_key(block: int) -> str:
    return f"{CHUNKS}/{block}"


def chunk_key(seq: int) -> str:
    """Where record ``seq`` is kept; Zarr's own key of element [seq // 1000, seq % 1000]."""
    return f"{CHUNKS}/{seq // BLOCK}/{seq % BLOCK}"


# ---------------------------------------------------------------- chunks


def packed(raw: bytes) -> bytes:
    """The bytes as an object holds them: zstd, then the crc32c of that."""
    if len(raw) > MOST_BYTES:
        raise ValueError(f"{len(raw):,} bytes are too many for one object ({MOST_BYTES:,})")
    data = bytes(zstd.compress(raw, 1))
    return data + struct.pack("<I", google_crc32c.value(data))


def unpacked(data: bytes) -> bytes:
    """The inverse of ``packed``; raises ValueError where any byte is not as written.

    What would unpack to more than ``MOST_BYTES`` is refused before it is unpacked.
    """
    if not data:
        raise ValueError("it has no bytes, as after a loss of power or a copy that broke off")
    if len(data) < 4 or google_crc32c.value(data[:-4]) != checksum(data):
        raise ValueError("its checksum is wrong")
    size = unpacked_size(data)
    if size is None or size > MOST_BYTES:
        raise ValueError(f"it unpacks to {'?' if size is None else format(size, ',')} bytes")
    try:
        return bytes(zstd.decompress(data[:-4]))
    except RuntimeError as error:
        raise ValueError(f"it cannot be decompressed ({error})") from error


def unpacked_size(data: bytes) -> int | None:
    """The size of the content that a zstd frame declares in its header (RFC 8878, 3.1.1.1)."""
    if len(data) < 6 or data[:4] != b"\x28\xb5\x2f\xfd":
        return None
    flags = data[4]
    single = flags >> 5 & 1  # a frame of one segment has no window descriptor
    width = (single, 2, 4, 8)[flags >> 6]
    start = 6 - single + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(data[start : start + width], "little")
    return None if width == 0 else size + 256 * (width == 2)


def encode_chunk(text: str) -> bytes:
    """The bytes of a chunk holding this one string."""
    raw = text.encode()
    return packed(struct.pack("<II", 1, len(raw)) + raw)


def decode_chunk(data: bytes) -> str:
    """The string of a chunk; raises ValueError where any byte is not as written."""
    raw = unpacked(data)
    if struct.unpack_from("<II", raw.ljust(8, b"\0")) != (1, len(raw) - 8):
        raise ValueError("it is not one string")
    return raw[8:].decode()


def checksum(data: bytes) -> int:
    """The crc32c a chunk ends with: that of everything before it.

    The crc32c of *all* its bytes would be the same constant for every chunk.
    """
    (value,) = struct.unpack("<I", data[-4:])
    return int(value)


# ---------------------------------------------------------------- metadata of the log


def log_document(blocks: int) -> bytes:
    """Metadata of the log; its shape is a hint for other readers and grows with the blocks."""
    return _indented(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [blocks, BLOCK],
            "data_type": "string",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": "",
            "codecs": [
                {"name": "vlen-utf8"},
                {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
                {"name": "crc32c"},
            ],
            "dimension_names": ["block", "record"],
            "attributes": {"spot_dask": {"blocks": blocks}},
        }
    )


def log_blocks(data: bytes | None) -> int:
    """Blocks the metadata of the log speaks of; raises StoreCorrupt if it is not ours."""
    try:
        document = load(data or b"")
        blocks = int(document["shape"][0])
        if document == load(log_document(blocks)):
            return blocks
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        pass
    raise StoreCorrupt(f"{LOG} is missing or damaged: expected the metadata of a journal")


# ---------------------------------------------------------------- metadata of the run


def root_document(header: Header) -> bytes:
    """Metadata of the root group, with the header under its own checksum."""
    attributes = {"spot_dask": header_attributes(header)}
    return _indented({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def header_attributes(header: Header) -> JSON:
    """The header, its version and its checksum."""
    attributes: JSON = {
        "format": FORMAT,
        "schema_version": _dotted(SCHEMA),
        "min_reader": _dotted(SCHEMA),
        **dataclasses.asdict(header),
    }
    # Through JSON once, so that the checksum is that of what a reader will see.
    attributes = load(dump(attributes))
    attributes["crc32c"] = header_checksum(attributes)
    return attributes


def header_checksum(attributes: JSON) -> int:
    """crc32c of the header in canonical JSON; the first record of the log is chained to it."""
    covered = {name: value for name, value in attributes.items() if name != "crc32c"}
    text = json.dumps(covered, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return int(google_crc32c.value(text.encode()))


@dataclasses.dataclass(frozen=True)
class Root:
    """What the root group says: the header, its checksum, and whether we may write this run."""

    header: Header
    checksum: int
    schema: tuple[int, int]

    @property
    def writable(self) -> bool:
        """False for a newer minor version, which can be read but not written."""
        return self.schema <= SCHEMA


def parse_root(data: bytes, where: str) -> Root:
    """Read the root group's metadata.

    Raises StoreError if it is no run of ours or one we are too old for, StoreCorrupt if damaged.
    """
    attributes = _attributes(data, where)
    schema = _version(attributes, "schema_version")
    reader = _version(attributes, "min_reader")
    if schema[0] > SCHEMA[0] or reader > SCHEMA:
        raise StoreError(
            f"{where} was written by a newer spot-dask: its {ROOT} is of schema {_dotted(schema)} "
            f"for readers of {_dotted(reader)}, this is {_dotted(SCHEMA)}; upgrade spot-dask"
        )
    crc = header_checksum(attributes)
    if attributes.get("crc32c") != crc:
        raise StoreCorrupt(f"{ROOT} of {where} is damaged: its header fails its checksum")
    try:
        header = from_json(Header, attributes)
    except ValueError as error:
        raise StoreCorrupt(f"{ROOT} of {where} is damaged: its header: {error}") from error
    return Root(header, crc, schema)


def _attributes(data: bytes, where: str) -> JSON:
    try:
        document = load(data)
    except ValueError as error:
        raise StoreCorrupt(f"{ROOT} of {where} is damaged: it is not JSON ({error})") from error
    node = document if isinstance(document, dict) else {}
    is_group = node.get("zarr_format") == 3 and node.get("node_type") == "group"
    outer = node.get("attributes")
    attributes = outer.get("spot_dask") if is_group and isinstance(outer, dict) else None
    if not isinstance(attributes, dict) or attributes.get("format") != FORMAT:
        kind = node.get("node_type", "node") if node.get("zarr_format") == 3 else "node"
        raise StoreError(f"{where} is another Zarr {kind} by its {ROOT}, expected a spot-dask run")
    return attributes


def _version(attributes: JSON, name: str) -> tuple[int, int]:
    try:
        major, minor = str(attributes[name]).split(".")
        return int(major), int(minor)
    except (KeyError, ValueError) as error:
        raise StoreCorrupt(f"{ROOT} is damaged: no readable {name}") from error


def _dotted(version: tuple[int, int]) -> str:
    return "{}.{}".format(*version)


def _indented(document: JSON) -> bytes:
    return json.dumps(document, allow_nan=False, indent=2).encode()
