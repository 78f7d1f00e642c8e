"""Stores of earlier versions stay readable; those of later ones are read or refused in one line."""

import dataclasses
import json
import math
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from store_examples import HEADER, failed, stopped, succeeded, trial

from spot_dask.cli import main
from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.fold import Fold
from spot_dask.records import Closed, Import, Imported, Opened, Status
from spot_dask.run import Run
from spot_dask.store import layout
from spot_dask.store.journal import Journal
from spot_dask.store.layout import checksum, chunk_key, decode_chunk, encode_chunk
from spot_dask.store.verify import verify

GOLDEN = sorted((Path(__file__).parent / "golden").glob("schema-*.tar.xz"))


def unpacked(archive, folder):
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.xz")


SPACE_THEN = {"lr": {"type": "real", "low": 1e-5, "high": 0.1}}
"""What the golden stores were made with: any table, as journals do not look into it."""

THEN = 2**63 + 1
"""The seed of the trials of schema 1.0; one so large is not written any more."""


def as_then(evaluation, seed):
    return replace(evaluation, trial=replace(evaluation.trial, seed=seed))


def test_the_present_schema_has_its_golden_store():
    present = "schema-{}.{}.tar.xz".format(*layout.SCHEMA)
    assert present in [archive.name for archive in GOLDEN]


@pytest.mark.parametrize("archive", GOLDEN, ids=lambda path: path.name)
def test_a_store_of_an_earlier_version_is_read_whole_and_resumed(archive, tmp_path):
    path = unpacked(archive, tmp_path)
    assert verify(path).problems == ()
    journal = Journal.open(path)
    assert journal.header == replace(HEADER, space=SPACE_THEN, space_hash="abc")
    records = journal.records()
    state = Fold.of(records)
    news = archive.name != "schema-1.0.tar.xz"
    seed = trial().seed if news else THEN
    done = {e.trial.number: e for e in state.history.evaluations}
    assert repr(done[0]) == repr(as_then(succeeded(0).evaluation, seed))
    assert repr(done[1]) == repr(as_then(failed(1).evaluation, seed))
    assert (done[2].attempt, done[2].outcome.status) == (1, Status.OK)
    assert done[2].outcome.curves == {
        "loss": tuple(1 / n for n in range(1, 200)), "nothing": ()
    }  # fmt: skip
    assert state.history.pending == (replace(trial(3), seed=seed),)
    item = Import({"lr": 0.1}, math.inf, "r0", 5)
    assert state.imports == (Imported("old.zarr", (item,), ("trial 6: unknown",)),)
    assert state.settings == {"budget": {"evaluations": 40, "wall": None}}
    assert (4 in done and repr(done[4]) == repr(stopped(4).evaluation)) is news
    assert (state.epoch, state.closed, len(records)) == (2, "budget", 11 if news else 10)

    journal = Journal.resume(path)
    journal.append(succeeded(3))
    journal.close()
    assert verify(path).problems == ()
    assert Fold.of(Journal.open(path).records()).history.pending == ()


@pytest.mark.parametrize("archive", GOLDEN, ids=lambda path: path.name)
def test_settings_that_a_store_is_too_old_for_are_what_the_run_did_without_them(archive, tmp_path):
    settings = Run.open(unpacked(archive, tmp_path)).settings
    assert settings["replication"] == 0.0
    assert settings["durability"] == "fsync"
    assert settings["budget"]["evaluations"] == 40


@pytest.fixture
def newer(tmp_path, monkeypatch):
    """A run of schema 1.9: with a kind of record, and fields, that are not known here."""
    path = tmp_path / "newer.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(layout, "SCHEMA", (1, 9))
        journal = Journal.create(path, HEADER)
        document = json.loads((path / "zarr.json").read_text())
        document["attributes"]["spot_dask"]["min_reader"] = "1.0"
    journal.append(Closed("one"))
    journal.append(Closed("two"))
    journal.append(Closed("three"))
    journal.close()
    attributes = document["attributes"]["spot_dask"]
    attributes["news"] = {"a": 1}
    attributes["crc32c"] = layout.header_checksum(attributes)
    (path / "zarr.json").write_text(json.dumps(document))
    previous = attributes["crc32c"]
    for seq in range(4):
        place = path / chunk_key(seq)
        record = json.loads(decode_chunk(place.read_bytes()))
        record |= {"prev_crc": previous, "more": True}
        if seq == 2:
            record |= {"kind": "sing", "items": [{"song": "la"}]}
        place.write_bytes(encode_chunk(json.dumps(record)))
        previous = checksum(place.read_bytes())
    return path


def test_what_is_known_of_a_newer_minor_version_is_read_with_a_line(newer, caplog):
    records = Journal.open(newer).records()
    assert [r.seq for r in records] == [0, 1, 3]
    assert isinstance(records[0].entry, Opened)
    assert [r.entry for r in records[1:]] == [Closed("one"), Closed("three")]
    (line,) = caplog.messages
    assert line == (
        f"{newer} was written by a newer spot-dask (schema 1.9); it is opened for reading only"
    )
    assert verify(newer).problems == ()


def test_a_newer_minor_version_is_not_resumed_and_not_changed(newer):
    before = {p: p.read_bytes() for p in newer.rglob("*") if p.is_file()}
    with pytest.raises(StoreError, match=r"schema 1\.9\); it can be read, upgrade spot-dask to"):
        Journal.resume(newer, takeover=True)
    assert {p: p.read_bytes() for p in newer.rglob("*") if p.is_file()} == before


def test_an_unknown_kind_in_a_store_of_this_version_is_damage(tmp_path):
    path = tmp_path / "run.zarr"
    journal = Journal.create(path, HEADER)
    journal.append(Closed("x"))
    journal.close()
    place = path / chunk_key(1)
    record = json.loads(decode_chunk(place.read_bytes())) | {"kind": "sing"}
    place.write_bytes(encode_chunk(json.dumps(record)))
    with pytest.raises(StoreCorrupt, match="log/c/0/1 is damaged: no entry of kind 'sing'"):
        Journal.open(path).records()


@pytest.mark.parametrize("command", ["status", "verify", "best", "resume"])
def test_an_unknown_major_version_is_refused_with_what_to_do(
    command, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "run.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(layout, "SCHEMA", (2, 0))
        Journal.create(path, dataclasses.replace(HEADER)).close()
    assert main([command, str(path)], standalone_mode=False) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "written by a newer spot-dask" in line
    assert line.endswith("upgrade spot-dask")
