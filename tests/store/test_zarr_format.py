import dataclasses
import json

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from store_examples import ENTRIES, HEADER
from zarr.codecs import Crc32cCodec, VLenUTF8Codec, ZstdCodec

from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.store.journal import Journal
from spot_dask.store.layout import (
    checksum,
    chunk_key,
    decode_chunk,
    encode_chunk,
    header_checksum,
    log_blocks,
    log_document,
    parse_root,
    root_document,
)


def flips(data):
    """The data with every single bit flipped in turn."""
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            yield bytes(flipped)


def zarr_log(path):
    """A log as zarr-python itself makes it."""
    return zarr.open_group(path, mode="w").create_array(
        "log",
        shape=(2, 1000),
        chunks=(1, 1),
        dtype="string",
        fill_value="",
        serializer=VLenUTF8Codec(),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        dimension_names=("block", "record"),
        attributes={"spot_dask": {"blocks": 2}},
    )


@given(st.text(max_size=3000))
def test_a_chunk_gives_back_its_string(text):
    assert decode_chunk(encode_chunk(text)) == text


def test_zarr_reads_our_chunks_and_we_read_those_of_zarr(tmp_path):
    log = zarr_log(tmp_path / "x.zarr")
    texts = [dump * 50 for dump in ("a", '{"größe": 1}', "\N{SNOWMAN}", "0123456789")]
    for seq, text in zip((0, 7, 999, 1000), texts, strict=True):
        log[seq // 1000, seq % 1000] = text
        chunk = tmp_path / "x.zarr" / chunk_key(seq)
        assert decode_chunk(chunk.read_bytes()) == text
        chunk.write_bytes(encode_chunk(text[::-1]))
        assert log[seq // 1000, seq % 1000] == text[::-1]


def test_the_log_is_the_array_zarr_would_have_made(tmp_path):
    zarr_log(tmp_path / "x.zarr")
    theirs = json.loads((tmp_path / "x.zarr/log/zarr.json").read_text())
    ours = json.loads(log_document(2))
    for codec in theirs["codecs"] + ours["codecs"]:
        codec.setdefault("configuration", {})
    assert {**theirs, "storage_transformers": []} == {**ours, "storage_transformers": []}


def test_every_flipped_bit_of_a_chunk_is_reported():
    chunk = encode_chunk('{"v":1,"seq":0,"items":["' + "loss " * 20 + '"]}')
    for damaged in flips(chunk):
        with pytest.raises(ValueError, match="checksum"):
            decode_chunk(damaged)
    with pytest.raises(ValueError, match="no bytes"):
        decode_chunk(b"")
    for length in range(1, len(chunk)):
        with pytest.raises(ValueError, match="checksum"):
            decode_chunk(chunk[:length])


def test_a_chunk_of_other_strings_than_one_is_refused(tmp_path):
    log = zarr.create_array(
        tmp_path / "two.zarr",
        shape=(2,),
        chunks=(2,),
        dtype="string",
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
    )
    log[:] = np.array(["a", "b"])
    with pytest.raises(ValueError, match="not one string"):
        decode_chunk((tmp_path / "two.zarr/c/0").read_bytes())


def test_checksums_of_different_chunks_differ():
    assert checksum(encode_chunk("a")) != checksum(encode_chunk("b"))


def test_a_flipped_bit_of_the_header_is_reported_or_does_not_change_its_meaning():
    document = root_document(HEADER)
    assert parse_root(document, "run.zarr").header == HEADER
    silent = 0
    for damaged in flips(document):
        try:
            assert parse_root(damaged, "run.zarr").header == HEADER
            silent += 1
        except StoreError:
            pass
    assert silent == 4  # the letters of 1e-05, \u00f6 and \u00df in upper case: the same JSON


def test_every_flipped_bit_of_the_metadata_of_the_log_is_reported():
    document = log_document(12)
    assert log_blocks(document) == 12
    for damaged in flips(document):
        with pytest.raises(StoreCorrupt, match=r"log/zarr\.json"):
            log_blocks(damaged)


def versioned(schema, reader):
    document = json.loads(root_document(HEADER))
    attributes = document["attributes"]["spot_dask"]
    attributes |= {"schema_version": schema, "min_reader": reader, "news": 1}
    attributes["crc32c"] = header_checksum(attributes)
    return json.dumps(document).encode()


@pytest.mark.parametrize(("schema", "reader"), [("2.0", "2.0"), ("1.3", "1.2"), ("2.0", "1.0")])
def test_a_store_that_needs_a_newer_reader_is_refused_with_what_to_do(schema, reader):
    with pytest.raises(StoreError, match=r"newer spot-dask: .* upgrade spot-dask"):
        parse_root(versioned(schema, reader), "run.zarr")


def test_an_unknown_minor_version_can_be_read_but_not_written():
    root = parse_root(versioned("1.7", "1.0"), "run.zarr")
    assert root.header == HEADER
    assert not root.writable


def test_plain_zarr_reads_the_records_and_the_header(tmp_path):
    journal = Journal.create(tmp_path / "run.zarr", HEADER)
    for entry in ENTRIES.values():
        if entry != ENTRIES["open"]:
            journal.append(entry)
    journal.close()

    group = zarr.open_group(tmp_path / "run.zarr", mode="r")
    assert group.attrs["spot_dask"]["run_id"] == HEADER.run_id
    assert [name for name, _ in group.members()] == ["log"]
    log = group["log"]
    assert log.shape == (1, 1000)
    assert log.nchunks_initialized == len(ENTRIES)
    texts = log[0, : len(ENTRIES)]
    assert [json.loads(text)["kind"] for text in texts] == list(ENTRIES)
    assert [json.loads(text)["seq"] for text in texts] == list(range(len(ENTRIES)))
    assert log[0, len(ENTRIES)] == ""


def test_a_header_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    header = dataclasses.replace(HEADER, settings={"wall": float("inf")})
    with pytest.raises(ValueError, match="JSON"):
        Journal.create(tmp_path / "run.zarr", header)
    assert list(tmp_path.iterdir()) == []
