"""A store from somebody else: it is read, or it is corrupt in one line; it holds up nobody."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from numcodecs import zstd
from store_examples import HEADER, succeeded
from table_examples import header, publish, story

from spot_dask.codec import dump, entry_from_json, entry_to_json, load
from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.records import Import, Imported, Told
from spot_dask.run import Run
from spot_dask.store import layout
from spot_dask.store.chain import read_link
from spot_dask.store.journal import Journal
from spot_dask.store.layout import decode_chunk, encode_chunk, header_checksum, packed
from spot_dask.store.verify import salvage, verify

ONE_LINE = r"(?s)\A[^\n]*\Z"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "run.zarr"
    journal = Journal.create(path, header(), durability="process")
    for entry in story(6):
        journal.append(entry)
    journal.close()
    publish(path)
    return path


@pytest.fixture
def path(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run.zarr")


def read(path):
    run = Run.open(path)
    return run.history, run.tabulated


def instead(path, kind):
    """Another kind of file where the store has an object."""
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "link":
        path.symlink_to(path.name)
    elif kind == "endless":
        with path.open("wb") as file:
            file.truncate(2**40)


KINDS = ("fifo", "device", "socket", "link", "endless")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["zarr.json", "log/c/0/0", "log/c/0/3"])
def test_another_kind_of_file_is_corruption_and_is_not_waited_for(path, key, kind, monkeypatch):
    monkeypatch.chdir((path / key).parent)  # the name of a socket is short
    instead(path / key, kind) if kind != "socket" else instead(
        type(path)(path.name and (path / key).name), kind
    )
    with pytest.raises(StoreCorrupt, match=ONE_LINE):
        read(path)
    if key != "zarr.json":
        assert any(line.startswith(f"{key} ") or key in line for line in verify(path).problems)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["fifo", "device", "link", "endless"])
@pytest.mark.parametrize(
    "key",
    ["log/zarr.json", "log/.writer", "tables/zarr.json", "tables/g0000000010/zarr.json",
     "tables/g0000000010/seed/c/0"],
)  # fmt: skip
def test_another_kind_of_file_where_only_hints_are_is_not_waited_for(path, key, kind):
    before = repr(vars(Run.open(path).history))
    instead(path / key, kind)
    if key == "log/zarr.json":
        with pytest.raises(StoreCorrupt, match=ONE_LINE):
            read(path)
    else:
        assert repr(vars(read(path)[0])) == before
    if key != "log/.writer":
        assert verify(path).problems


def test_a_chunk_that_would_unpack_to_gigabytes_is_not_unpacked(monkeypatch):
    bomb = packed(bytes(layout.MOST_BYTES))
    assert len(bomb) < 20_000
    with pytest.raises(ValueError, match="it is not one string"):
        decode_chunk(bomb)
    with pytest.raises(ValueError, match="too many for one object"):
        packed(bytes(layout.MOST_BYTES + 1))
    larger = bytes(zstd.compress(bytes(layout.MOST_BYTES + 1), 1))
    monkeypatch.setattr(zstd, "decompress", pytest.fail)
    with pytest.raises(ValueError, match="unpacks to"):
        decode_chunk(larger + layout.struct.pack("<I", layout.google_crc32c.value(larger)))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_791, 65_792, 1_000_000])
def test_the_declared_size_of_a_chunk_is_its_size(size):
    assert layout.unpacked_size(packed(os.urandom(size))) in (size, size or None)


def test_json_that_is_nested_deeply_is_corruption():
    with pytest.raises(StoreCorrupt, match=ONE_LINE):
        read_link("log/c/0/0", encode_chunk("[" * 100_000))
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    with pytest.raises(ValueError, match="nested too deeply"):
        load(deep)


WRONG = [
    ("trial", "number", "7"), ("trial", "number", True), ("trial", "number", 1.5),
    ("trial", "seed", None), ("trial", "config", []), ("trial", "config", {"lr": {}}),
    ("trial", "config", {"lr": [1]}), ("trial", "origin", "nowhere"), ("trial", "origin", []),
    ("outcome", "y", "0.5"), ("outcome", "y", "nan"), ("outcome", "y", 10**400),
    ("outcome", "y", None), ("outcome", "metrics", {"a": "x"}), ("outcome", "metrics", [1]),
    ("outcome", "curves", {"a": 1}), ("outcome", "curves", {"a": ["x"]}),
    ("outcome", "curves", {"a": [True]}), ("outcome", "started", "soon"),
    ("outcome", "worker", 3), ("outcome", "error", "x"), ("outcome", "error", {"type": "x"}),
    ("outcome", "error", {"type": 1, "message": "", "traceback": ""}), ("outcome", "status", 0),
]  # fmt: skip


@pytest.mark.parametrize(("part", "name", "value"), WRONG)
def test_a_value_of_another_type_is_no_entry(part, name, value):
    data = entry_to_json(succeeded(0))
    data["items"][0][part][name] = value
    with pytest.raises(ValueError, match=ONE_LINE):
        entry_from_json(data)
    del data["items"][0][part][name]
    with pytest.raises(ValueError, match=f"lacks '{name}'"):
        entry_from_json(data)


@pytest.mark.parametrize(
    "data",
    [
        {"kind": [], "items": []},
        {"kind": "ask", "items": [1]},
        {"kind": "tell", "items": 3},
        {"kind": "close", "items": [{}, {}]},
        {"kind": "open", "items": [None]},
    ],
)
def test_what_is_no_entry_at_all_is_corruption(data, tmp_path):
    journal = Journal.create(tmp_path / "a", HEADER, durability="process")
    raw = {
        "v": 1,
        "seq": 1,
        "epoch": 1,
        "commit": "x",
        "prev_crc": journal.tail.checksum,
        "ts": 1.0,
    }
    (tmp_path / "a/log/c/0/1").write_bytes(encode_chunk(dump(raw | data)))
    journal.close()
    with pytest.raises(StoreCorrupt, match=ONE_LINE):
        Journal.open(tmp_path / "a").records()
    assert len(verify(tmp_path / "a").problems) == 1


@pytest.mark.parametrize("changed", [{"name": 3}, {"space": []}, {"created": "x"}, {"settings": 1}])
def test_a_header_of_other_types_is_corruption(path, changed):
    document = json.loads((path / "zarr.json").read_text())
    attributes = document["attributes"]["spot_dask"] | changed
    attributes["crc32c"] = header_checksum(attributes)
    document["attributes"]["spot_dask"] = attributes
    (path / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(StoreCorrupt, match=ONE_LINE):
        Run.open(path)


def planted(path, header=lambda attributes: None, body=lambda raw: None):
    """The store, with a header and records changed and all its checksums right."""
    document = json.loads((path / "zarr.json").read_text())
    attributes = document["attributes"]["spot_dask"]
    header(attributes)
    previous = attributes["crc32c"] = header_checksum(attributes)
    (path / "zarr.json").write_text(json.dumps(document))
    for seq in range(len(list((path / "log/c/0").iterdir()))):
        chunk = path / layout.chunk_key(seq)
        raw = load(decode_chunk(chunk.read_bytes()))
        raw["prev_crc"] = previous
        body(raw)
        chunk.write_bytes(encode_chunk(dump(raw)))
        previous = layout.checksum(chunk.read_bytes())


def trials_of(raw):
    return [item.get("trial", item) for item in raw["items"] if raw["kind"] in ("ask", "tell")]


@pytest.mark.parametrize(
    "changed",
    [{"direction": "up"}, {"space": {}}, {"space": {"format": "spot-dask/space/1"}},
     {"settings": {"seed": -1}}, {"settings": {"budget": {"evaluations": 1e308}}}],
)  # fmt: skip
def test_a_header_that_cannot_be_is_found_by_verify_and_by_who_reads(path, changed):
    planted(path, lambda attributes: attributes.update(changed))
    assert any(next(iter(changed)) in problem for problem in verify(path).problems)
    with pytest.raises(StoreCorrupt, match=ONE_LINE):
        Run.open(path).status()


@pytest.mark.parametrize("kinds", [("ask", "tell"), ("ask",), ("tell",)])
@pytest.mark.parametrize(
    "config", [{"q": 1}, {"lr": 0.01}, {"lr": 50.0}, {"lr": "0.01"}, {"act": "zz"}, {}]
)
def test_a_trial_that_does_not_fit_the_space_is_corruption(path, config, kinds):
    def body(raw):
        for trial in trials_of(raw) if raw["kind"] in kinds else ():
            if trial["number"] == 2:
                known = {} if config in ({}, {"lr": 0.01}) else trial["config"]
                trial["config"] = known | config

    planted(path, body=body)
    if kinds == ("ask",):  # the evaluation says what was trained
        assert read(path)
        return
    with pytest.raises(StoreCorrupt, match="trial 2 "):
        Run.open(path).status()
    assert any("trial 2 " in problem for problem in verify(path).problems)


@pytest.mark.parametrize("number", [-1, 77, 2**70])
def test_a_number_that_no_trial_of_a_run_has_is_corruption(path, number):
    def body(raw):
        for trial in trials_of(raw):
            if trial["number"] == 2:
                trial["number"] = number

    planted(path, body=body)
    with pytest.raises(StoreCorrupt, match=ONE_LINE):
        read(path)
    assert verify(path).problems


def test_settings_of_a_session_that_cannot_be_are_corruption(path):
    def body(raw):
        if raw["kind"] == "open":
            raw["items"][0]["settings"] = {"budget": None}

    planted(path, body=body)
    with pytest.raises(StoreCorrupt, match=r"the settings of .* budget"):
        Run.open(path).status()
    assert any("budget" in problem for problem in verify(path).problems)


@pytest.mark.timeout(60)
def test_names_with_huge_numbers_hold_up_nobody(path, tmp_path):
    (path / "log/c/999999999999").mkdir()
    (path / "log/c/999999999999/7").write_bytes(b"x")
    (path / "tables/g99999999999999").mkdir()
    with pytest.raises(StoreError, match=ONE_LINE):
        read(path)
    assert len(verify(path).problems) < 250
    assert salvage(path, tmp_path / "saved.zarr").kept == 10
    assert len(Run.open(tmp_path / "saved.zarr").history.evaluations) == 6


@pytest.mark.parametrize(("source", "attempt"), [(2**80, 0), (0, 2**70)])
def test_an_integer_that_no_table_can_hold_is_corruption(tmp_path, source, attempt):
    journal = Journal.create(tmp_path / "a", header(), durability="process")
    _, asked, told, *_ = story(1)
    item = Import(asked.trials[0].config, 1.0, "r", source)
    journal.append(Imported("old", (item,)))
    journal.append(asked)
    journal.append(Told(replace(told.evaluation, attempt=attempt)))
    journal.close()
    with pytest.raises(StoreCorrupt, match=ONE_LINE):
        read(tmp_path / "a")


def test_reading_a_store_imports_nothing_heavy_for_its_tables(path):
    code = (
        "import sys; from spot_dask.run import Run; "
        f"Run.open({str(path)!r}).history; sys.exit('zarr' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def _planted(path, change):
    """The group of a table with another document, whose checksums are right."""
    file = next(path.glob("tables/g*/zarr.json"))
    document = load(file.read_bytes())
    del document["attributes"]["spot_dask"]["crc32c"]
    change(document, document["consolidated_metadata"]["metadata"])
    document["attributes"]["spot_dask"]["crc32c"] = header_checksum(document)
    file.write_bytes(json.dumps(document, indent=1).encode())


PLANTED = {
    "endless": lambda doc, arrays: arrays["seed"].update(shape=[10**15]),
    "no chunks": lambda doc, arrays: arrays["seed"]["chunk_grid"]["configuration"].update(
        chunk_shape=[0]
    ),
    "large chunks": lambda doc, arrays: arrays["seed"]["chunk_grid"]["configuration"].update(
        chunk_shape=[10**12]
    ),
    "codec": lambda doc, arrays: arrays["seed"]["codecs"].append({"name": "numcodecs.pickle"}),
    "type": lambda doc, arrays: arrays["seed"].update(data_type="numpy.datetime64"),
    "elsewhere": lambda doc, arrays: arrays.update({"../../x": arrays["seed"]}),
    "no array": lambda doc, arrays: arrays.update(seed=3),
    "rows": lambda doc, arrays: doc["attributes"]["spot_dask"].update(rows="many"),
    "published": lambda doc, arrays: doc["attributes"]["spot_dask"].update(published="then"),
    "through": lambda doc, arrays: doc["attributes"]["spot_dask"].update(through=[]),
    "digests": lambda doc, arrays: doc["attributes"]["spot_dask"].update(digests=[]),
    "fill": lambda doc, arrays: arrays["seed"].update(fill_value={}),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("change", PLANTED.values(), ids=PLANTED)
def test_a_table_whose_document_was_planted_is_left_aside(path, change, caplog):
    before = Run.open(path)
    expected = repr((vars(before.history), before.tabulated))
    _planted(path, change)
    run = Run.open(path)
    assert repr((vars(run.history), Run.open(path).tabulated)) == expected
    assert "damaged" in caplog.text
    assert any("is damaged" in line for line in verify(path).problems)
