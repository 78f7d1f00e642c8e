"""What a training reports travels in parcels: seldom, bounded, and the newest for certain."""

from __future__ import annotations

from spot_dask.worker.heartbeat import EPOCHS, Parcels, Report


def test_of_more_reports_than_a_parcel_holds_the_newest_are_sent() -> None:
    sent: list[list[Report]] = []
    parcels = Parcels(sent.append)
    last = 3 * EPOCHS
    for epoch in range(1, last + 1):
        parcels.add(epoch, {"loss": 1.0 / epoch})
    parcels.flush()
    assert sent[0][0][0] == 1
    assert max(map(len, sent)) <= EPOCHS
    assert sent[-1][-1] == (last, {"loss": 1.0 / last})


def test_what_waits_is_sent_once() -> None:
    sent: list[list[Report]] = []
    parcels = Parcels(sent.append)
    for epoch in range(1, 5):
        parcels.add(epoch, {})
    parcels.flush()
    parcels.flush()
    assert [epoch for parcel in sent for epoch, _ in parcel] == [1, 2, 3, 4]
