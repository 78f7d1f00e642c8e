"""Whatever happens to the bytes of a journal, it is reported: other records are never returned."""

import os
import shutil

import pytest
from sizes import size
from store_examples import HEADER, succeeded, trial

from spot_dask.codec import load
from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.records import Asked, Closed
from spot_dask.store.journal import Journal
from spot_dask.store.layout import encode_chunk, header_checksum, root_document


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.zarr"
    journal = Journal.create(path, HEADER, durability="process")
    journal.append(Asked((trial(0), trial(1))))
    journal.append(succeeded(0))
    journal.append(Closed("paused"))
    journal.close()
    journal = Journal.resume(path, durability="process")
    journal.append(succeeded(1))
    journal.append(Closed("done"))
    journal.close()
    return path


def objects(path):
    return sorted(p for p in path.rglob("*") if p.is_file() and p.name != ".writer")


def read(path):
    journal = Journal.open(path)
    return repr((journal.header, journal.records()))


def test_every_flipped_byte_of_every_object_is_reported_or_without_effect(path):
    intact, silent = read(path), []
    for place in objects(path):
        data = place.read_bytes()
        for position in range(0, len(data), size(4, 1)):
            damaged = bytearray(data)
            damaged[position] ^= 1 << position % 8
            place.write_bytes(damaged)
            try:
                assert read(path) == intact
                silent.append((place.name, bytes(damaged[position : position + 1])))
            except StoreError as error:
                assert place.name in str(error)  # noqa: PT017
        place.write_bytes(data)
    assert read(path) == intact
    # What may pass is JSON of the same meaning: the upper case of 1e-05 or \u00f6 in the header.
    assert {name for name, _ in silent} <= {"zarr.json"}
    assert {byte for _, byte in silent} <= {b"E", b"F", b"D"}


def test_a_truncation_of_any_object_is_reported(path):
    for place in objects(path):
        data = place.read_bytes()
        for length in {*range(0, len(data), 9), len(data) - 1}:
            os.truncate(place, length)
            with pytest.raises(StoreCorrupt, match=place.name):
                read(path)
            place.write_bytes(data)


@pytest.mark.parametrize("seq", range(6))
def test_a_removed_record_is_missed(path, seq):
    (path / f"log/c/0/{seq}").unlink()
    with pytest.raises(StoreCorrupt, match=f"log/c/0/{seq} is missing"):
        read(path)
    with pytest.raises(StoreCorrupt, match=f"log/c/0/{seq} is missing"):
        Journal.resume(path)


@pytest.mark.parametrize("first", range(1, 7))
def test_records_removed_at_the_end_are_missed_when_the_run_is_resumed(path, first):
    for seq in range(first, 7):
        (path / f"log/c/0/{seq}").unlink()
    for _ in range(2):
        message = f"log/c/0/{first} is missing: record 6 had been acknowledged"
        with pytest.raises(StoreCorrupt, match=message):
            Journal.resume(path, durability="process")
    (path / "log/.writer").unlink()  # as in a copy without it: nothing is known of the end
    Journal.resume(path, durability="process").close()


def test_what_is_noted_of_the_end_is_only_a_help(path):
    for text in ("", "x", "{}", '{"head":null}', "7", '{"head":6}'):
        (path / "log/.writer").write_text(text)
        Journal.resume(path, durability="process").close()


def test_a_removed_block_is_missed(tmp_path):
    path = tmp_path / "run.zarr"
    journal = Journal.create(path, HEADER, durability="process")
    for _ in range(1000):
        journal.append(Closed("x"))
    journal.close()
    shutil.rmtree(path / "log/c/0")
    with pytest.raises(StoreCorrupt, match="log/c/0/0"):
        read(path)


@pytest.mark.parametrize("first", range(7))
@pytest.mark.parametrize("second", range(7))
def test_swapped_or_doubled_records_are_noticed(path, first, second):
    one, other = path / f"log/c/0/{first}", path / f"log/c/0/{second}"
    intact = read(path)
    bytes_of_one, bytes_of_other = one.read_bytes(), other.read_bytes()
    one.write_bytes(bytes_of_other)
    if first == second:
        assert read(path) == intact
        return
    with pytest.raises(StoreCorrupt, match=rf"log/c/0/({first}|{second})"):
        read(path)
    other.write_bytes(bytes_of_one)
    with pytest.raises(StoreCorrupt, match=rf"log/c/0/({first}|{second})"):
        read(path)


@pytest.mark.parametrize("seq", range(6))
def test_a_record_of_another_run_is_noticed_even_at_its_own_place(path, seq, tmp_path):
    twin = tmp_path / "twin.zarr"
    journal = Journal.create(twin, HEADER, durability="process")
    for _ in range(2):
        for entry in (Asked((trial(0),)), succeeded(0), Closed("paused")):
            journal.append(entry)
    journal.close()
    shutil.copy(twin / f"log/c/0/{seq}", path / f"log/c/0/{seq}")
    with pytest.raises(StoreCorrupt, match="log/c/0/"):
        read(path)


def test_a_record_beyond_the_end_is_noticed(path):
    shutil.copy(path / "log/c/0/6", path / "log/c/0/9")
    with pytest.raises(StoreCorrupt, match="log/c/0/7 is missing, but there are later records"):
        read(path)


def test_another_header_with_a_right_checksum_does_not_fit_the_records(path):
    document = root_document(HEADER)
    other = load(document)["attributes"]["spot_dask"]
    new = document.replace(b'"val_loss"', b'"val_lost"')
    changed = load(new)["attributes"]["spot_dask"]
    new = new.replace(str(header_checksum(other)).encode(), str(header_checksum(changed)).encode())
    (path / "zarr.json").write_bytes(new)
    assert Journal.open(path).header.objective == "val_lost"
    with pytest.raises(StoreCorrupt, match="log/c/0/0 does not follow"):
        read(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"v":1}', "NaN", '{"v":1,"seq":5,"epoch":2,"prev_crc":"x"}']
)
def test_an_object_that_is_well_formed_but_no_record_is_reported(path, text):
    (path / "log/c/0/5").write_bytes(encode_chunk(text))
    with pytest.raises(StoreCorrupt, match="log/c/0/5 is damaged"):
        read(path)


def test_a_damaged_run_is_not_resumed_and_not_changed(path):
    place = path / "log/c/0/2"
    place.write_bytes(place.read_bytes()[:-1])
    before = objects(path)
    with pytest.raises(StoreCorrupt, match="log/c/0/2"):
        Journal.resume(path)
    assert objects(path) == before
