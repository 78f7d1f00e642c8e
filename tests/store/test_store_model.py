"""A study's store against a model of it: whatever coordinators, workers and readers do in turn.

The model is a list of what was acknowledged. Coordinators ask and tell, are killed before, during
or after a write, take over from each other or are fenced off; workers leave results whether or not
anybody lives to hear of them; readers read at any moment.
"""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from store_examples import HEADER, succeeded, trial
from test_journal_crashes import Crash, file_system

from spot_dask.errors import RunTakenOver
from spot_dask.fold import Fold
from spot_dask.records import Asked
from spot_dask.store.inbox import Inbox
from spot_dask.store.journal import Journal


class StoreModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "run.zarr"
        self.asked = 0
        self.told = {}  # trial -> the value that was acknowledged
        self.maybe = {}  # what was on its way, at once, when its coordinator was killed
        self.left = {}  # trial -> the values that its trainings have left, acknowledged
        self.seen = []
        self.stale = []

    @initialize()
    def create(self):
        self.coordinator = Journal.create(self.path, HEADER, durability="process")

    def teardown(self):
        for journal in (*self.stale, self.coordinator):
            if journal is not None:
                journal.close()
        shutil.rmtree(self.folder)

    def state(self):
        return Fold.of(Journal.open(self.path).records()).history

    def alive(self):
        return self.coordinator is not None

    @precondition(alive)
    @rule(q=st.integers(1, 3))
    def ask(self, q):
        self.coordinator.append(Asked(tuple(trial(self.asked + i) for i in range(q))))
        self.asked += q

    def untold(self, data):
        """Some trials that have no evaluation, or none that was acknowledged."""
        left = sorted(set(range(self.asked)) - set(self.told))
        return data.draw(st.lists(st.sampled_from(left), min_size=1, max_size=3, unique=True))

    @precondition(lambda self: self.alive() and len(self.told) < self.asked)
    @rule(data=st.data(), y=st.floats(-1, 1))
    def tell(self, data, y):
        batch = self.untold(data)
        self.coordinator.commit([succeeded(number, y) for number in batch])
        self.told |= dict.fromkeys(batch, y)

    @precondition(lambda self: self.alive() and len(self.told) < self.asked)
    @rule(data=st.data(), y=st.floats(2, 3), step=st.integers(0, 4), after=st.booleans())
    def kill_while_telling(self, data, y, step, after):
        batch = self.untold(data)
        try:
            with file_system(step, after=after):
                self.coordinator.commit([succeeded(number, y) for number in batch])
            self.told |= dict.fromkeys(batch, y)
        except Crash:
            self.maybe = dict.fromkeys(batch, y)
        self.coordinator.close()  # as the kernel does
        self.coordinator = None

    @precondition(alive)
    @rule()
    def kill(self):
        self.coordinator.close()
        self.coordinator = None

    @precondition(lambda self: self.asked > 0)
    @rule(data=st.data(), attempt=st.integers(0, 1), y=st.floats(4, 5))
    def leave(self, data, attempt, y):
        number = data.draw(st.integers(0, self.asked - 1))
        outcome = succeeded(number, y).evaluation.outcome
        assert Inbox(str(self.path), HEADER.run_id).leave(number, attempt, outcome)
        self.left.setdefault(number, []).append(y)

    @rule(crash=st.none() | st.integers(0, 12))
    def resume(self, crash):
        """Take over, from a living coordinator or a dead one, and take in what was left."""
        earlier, epoch = self.coordinator, self.epoch()
        journal, self.coordinator = None, None
        try:
            with file_system(crash):
                journal = Journal.resume(self.path, takeover=True, durability="process")
                journal.take_in()
            self.coordinator = journal
        except Crash:
            if journal is not None:
                journal.close()
            if self.epoch() == epoch:
                self.coordinator = earlier  # it died before it took over
        if earlier is not None and self.coordinator is not earlier:
            self.stale.append(earlier)
        self.settle(complete=self.coordinator not in (None, earlier))

    def epoch(self):
        return max(r.epoch for r in Journal.open(self.path).records())

    def settle(self, *, complete):
        """What may have happened, by what did happen; all that was left is told if ``complete``."""
        present = {e.trial.number: e.y for e in self.state().evaluations}
        if self.maybe.items() <= present.items():
            self.told |= self.maybe
        self.maybe = {}
        for number, values in self.left.items():
            if number not in self.told and (complete or number in present):
                assert present[number] in values
                self.told[number] = present[number]
        if complete:
            self.left = {}
            assert not list((self.path / "log").glob(".inbox/[0-9]*"))

    @precondition(lambda self: self.stale and self.asked)
    @rule()
    def go_on_although_taken_over(self):
        journal = self.stale.pop()
        try:
            journal.append(succeeded(0, 9.0))
        except RunTakenOver:
            journal.close()
            return
        raise AssertionError("a stale coordinator was acknowledged")

    @invariant()
    def a_reader_sees_what_was_acknowledged(self):
        records = Journal.open(self.path).records()
        assert repr(records[: len(self.seen)]) == repr(self.seen)
        self.seen = records
        history = Fold.of(records).history
        assert history.asked == self.asked
        present = {e.trial.number: e.y for e in history.evaluations}
        assert self.told.items() <= present.items()
        unknown = present.keys() - self.told.keys()
        arrived = {number: present[number] for number in unknown}
        assert arrived in ({}, self.maybe)  # all of it or nothing


TestStoreModel = StoreModel.TestCase
TestStoreModel.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
