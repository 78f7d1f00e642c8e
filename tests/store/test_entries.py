import json
import math

import pytest
from hypothesis import given
from store_examples import ENTRIES, entries

from spot_dask.codec import dump, entry_from_json, entry_to_json, load
from spot_dask.records import Evaluation, Outcome, Status, Told


@pytest.mark.parametrize("kind", ENTRIES)
def test_every_kind_of_entry_survives_json_unchanged(kind):
    data = entry_to_json(ENTRIES[kind])
    assert data["kind"] == kind
    assert repr(entry_from_json(load(dump(data)))) == repr(ENTRIES[kind])


@given(entries)
def test_any_entry_survives_strict_json_unchanged(entry):
    text = dump(entry_to_json(entry))
    assert repr(entry_from_json(load(text))) == repr(entry)  # repr: NaN equals itself there
    json.loads(text, parse_constant=pytest.fail)


def test_numbers_json_cannot_hold_are_refused_where_no_number_is_expected():
    with pytest.raises(ValueError, match="JSON"):
        dump({"settings": math.nan})
    with pytest.raises(ValueError, match="NaN is not JSON"):
        load("[NaN]")


def test_a_kind_that_does_not_fit_its_items_is_refused():
    data = entry_to_json(ENTRIES["tell"])
    with pytest.raises(ValueError, match="'fail' holds one of kind 'tell'"):
        entry_from_json({**data, "kind": "fail"})
    with pytest.raises(ValueError, match="no entry of kind 'sing'"):
        entry_from_json({**data, "kind": "sing"})


def test_an_evaluation_is_recorded_as_told_stopped_or_failed():
    trial = ENTRIES["tell"].evaluation.trial
    for status in Status:
        kind = entry_to_json(Told(Evaluation(trial, Outcome(status, 1.0))))["kind"]
        assert kind == {Status.OK: "tell", Status.STOPPED: "stop"}.get(status, "fail")


def test_an_import_recorded_before_there_were_priors_is_data():
    data = entry_to_json(ENTRIES["import"])
    (item,) = data["items"]
    del item["mode"], item["assumed"]
    entry = entry_from_json(data)
    assert (entry.mode, entry.assumed) == ("data", ())
