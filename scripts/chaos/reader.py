"""The journal of a store read by the chaos judges' own code, not by what they judge.

By the description of the format alone: an object is zstd (of one vlen-utf8 string, JSON) and then
the crc32c of that, and each record holds the checksum of the one before it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google_crc32c
from numcodecs import zstd


class Unreadable(Exception):
    """A journal is not what its format says."""


def texts(store: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each record, in order; raises Unreadable at the first that is wrong."""
    numbers = sorted(
        1000 * int(block.name) + int(record.name)
        for block in (store / "log" / "c").iterdir()
        for record in block.iterdir()
        if not record.name.startswith(".")
    )
    if numbers != list(range(len(numbers))):
        raise Unreadable(f"{store}: a record is missing in {numbers[-20:]}")
    before: int | None = None
    for number in numbers:
        data = (store / "log" / "c" / str(number // 1000) / str(number % 1000)).read_bytes()
        body, (crc,) = data[:-4], struct.unpack("<I", data[-4:])
        if google_crc32c.value(body) != crc:
            raise Unreadable(f"{store}: the checksum of record {number} is wrong")
        raw = bytes(zstd.decompress(body))
        if struct.unpack("<II", raw[:8]) != (1, len(raw) - 8):
            raise Unreadable(f"{store}: record {number} is not one string")
        text = raw[8:].decode()
        record = json.loads(text)
        if record["seq"] != number or before not in (None, record["prev_crc"]):
            raise Unreadable(f"{store}: record {number} does not follow the one before")
        before = crc
        yield number, text


def entries(store: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Number and epoch of the record, and each entry in it, in order."""
    for number, text in texts(store):
        record = json.loads(text)
        for entry in record["items"] if record["kind"] == "batch" else [record]:
            yield number, record["epoch"], entry


def evaluations(store: Path) -> list[tuple[int, str, float | None]]:
    """Trial, status and value of the first evaluation of each trial, in order."""
    found: dict[int, tuple[int, str, float | None]] = {}
    for _, _, entry in entries(store):
        if entry["kind"] in ("tell", "fail"):
            (item,) = entry["items"]
            number, outcome = item["trial"]["number"], item["outcome"]
            y = outcome["y"]
            value = float(y) if outcome["status"] == "ok" else None
            found.setdefault(number, (number, outcome["status"], value))
    return list(found.values())


def differing(store: Path, exported: str) -> list[str]:
    """What an export in JSON lines, and the newest table, do not have as the journal has it."""
    known = {number: (status, value) for number, status, value in evaluations(store)}
    rows = [json.loads(line) for line in exported.splitlines()]
    told = {row["trial"]: (row["status"], row["objective"]) for row in rows}
    columns = _table(store)
    table = dict(zip(columns["trial"], columns["objective"], strict=True))
    found = []
    for number in sorted(known.keys() | told.keys() | table.keys()):
        status, value = known.get(number, ("missing", None))
        if told.get(number, ("missing", None)) not in ((status, value), (status, "NaN")):
            found.append(f"trial {number}: {told.get(number)} in the export, {known.get(number)}")
        there = table.get(number, math.inf)
        if there != value and not (value is None and math.isnan(there)):
            found.append(f"trial {number}: {there} in the table, {known.get(number)}")
    return found


def _table(store: Path) -> dict[str, list[Any]]:
    """The trials and objectives of the newest table, which a run that has ended has of all."""
    latest = json.loads((store / "tables" / "zarr.json").read_text())["attributes"]["latest"]
    columns = {}
    for name, letter in (("trial", "q"), ("objective", "d")):
        place = store / "tables" / latest / name
        (length,) = json.loads((place / "zarr.json").read_text())["shape"]
        data = b"".join(
            zstd.decompress((place / "c" / str(chunk)).read_bytes()[:-4])
            for chunk in range(len(list((place / "c").iterdir())))
        )
        columns[name] = list(struct.unpack(f"<{len(data) // 8}{letter}", data))[:length]
    return columns
