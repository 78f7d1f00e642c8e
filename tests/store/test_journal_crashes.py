"""A crash, a full disk, a failing disk: what was acknowledged stays, nothing is invented."""

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from store_examples import HEADER

from spot_dask.errors import StoreError
from spot_dask.records import Closed, Opened
from spot_dask.store import chain, layout
from spot_dask.store import journal as journal_module
from spot_dask.store.journal import Journal

CALLS = ("mkdir", "open", "write", "fsync", "link", "unlink", "replace", "rename")


class Crash(BaseException):
    """The process is dead from here on."""


class FileSystem:
    """The system calls that change something, in order; crashes or fails at one of them."""

    def __init__(self, at=None, *, after=False, error=None):
        self.at, self.after, self.error = at, after, error
        self.calls = []
        self.dead = False

    def wrap(self, name):
        real = getattr(os, name)

        def call(*args, **kwargs):
            if self.dead:
                raise Crash
            mine = self.at == len(self.calls) or (self.at == name and _writes(name, args))
            self.calls.append((name, _target(args)))
            if mine and not self.after:
                self._fail()
            try:
                return real(*args, **kwargs)
            finally:
                if mine and self.after:
                    self._fail()

        return call

    def _fail(self):
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        self.dead = True
        raise Crash


def _writes(name, args):
    """Whether the call needs space: opening a directory to sync or to remove it does not."""
    return name != "open" or bool(args[1] & os.O_CREAT)


def _target(args):
    if isinstance(args[0], int):
        return str(Path(f"/proc/self/fd/{args[0]}").readlink())
    return os.fspath(args[0])


@contextmanager
def file_system(*args, **kwargs):
    system = FileSystem(*args, **kwargs)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, system.wrap(name))
        yield system


def entries(path):
    """What stands in the journal, apart from who opened it."""
    records = Journal.open(path).records()
    return [record.entry.reason for record in records if not isinstance(record.entry, Opened)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.zarr"
    Journal.create(path, HEADER, durability="process").close()
    return path


@pytest.fixture
def full_block(tmp_path, monkeypatch):
    """A run in blocks of three records, of which the next session takes the third."""
    for module in (layout, chain, journal_module):
        monkeypatch.setattr(module, "BLOCK", 3)
    path = tmp_path / "full.zarr"
    Journal.create(path, HEADER, durability="process").close()
    Journal.resume(path, durability="process").close()
    return path


def test_an_entry_is_synced_before_it_is_linked_and_its_directory_before_it_is_acknowledged(path):
    journal = Journal.resume(path)
    with file_system() as system:
        journal.append(Closed("x"))
    journal.close()
    block = str(path / "log/c/0")
    steps = [(name, os.path.dirname(at) == block or at) for name, at in system.calls]  # noqa: PTH120
    assert steps == [
        ("open", True),
        ("write", True),
        ("fsync", True),
        ("link", True),
        ("unlink", True),
        ("open", block),
        ("fsync", block),
    ]


def test_the_directory_of_a_new_block_is_made_durable_before_its_first_record(full_block):
    journal = Journal.resume(full_block)
    with file_system() as system:
        journal.append(Closed("x"))
    journal.close()
    calls = [(name, at.removeprefix(f"{full_block}/")) for name, at in system.calls]
    made = calls.index(("mkdir", "log/c/1"))
    synced = calls.index(("fsync", "log/c"), made)
    assert synced < next(i for i, (name, _) in enumerate(calls) if name == "link")


def test_without_durability_against_power_loss_nothing_is_synced(path):
    journal = Journal.resume(path, durability="process")
    with file_system() as system:
        journal.append(Closed("x"))
    journal.close()
    assert "link" in [name for name, _ in system.calls]
    assert "fsync" not in [name for name, _ in system.calls]


def crash_everywhere(path, act, check, every=1):
    """Crash before and after every system call of ``act(copy)``, then ``check(copy, done)``.

    With ``every=3`` it is each third call, before another one than after.
    """
    copy = path.with_name("copy.zarr")
    for after in (False, True):
        for step in range(after % every, 1000, every):
            shutil.copytree(path, copy, copy_function=os.link)
            # The lock is signed in place, so it must not be shared.
            (copy / "log/.writer").unlink()
            with file_system(step, after=after) as system, suppress(Crash):
                act(copy)
            check(copy, not system.dead)
            shutil.rmtree(copy)
            if not system.dead:
                break
        else:
            pytest.fail("the action does not end")
    return step


@pytest.mark.parametrize("durability", ["fsync", "process"])
def test_a_crash_at_any_step_of_a_commit_loses_and_invents_nothing(path, durability):
    acknowledged, journals = [], []

    def act(copy):
        acknowledged.clear()
        journals.append(Journal.resume(copy, durability=durability))
        for reason in ("a", "b"):
            journals[-1].append(Closed(reason))
            acknowledged.append(reason)

    def check(copy, done):
        while journals:
            journals.pop().close()  # as the kernel does when a process dies
        present = entries(copy)
        assert acknowledged == ["a", "b"] if done else len(acknowledged) < 2
        assert present in (acknowledged, ["a", "b"][: len(acknowledged) + 1])
        journal = Journal.resume(copy, takeover=True, durability=durability)
        journal.append(Closed("next"))
        journal.close()
        assert entries(copy) == [*present, "next"]

    assert crash_everywhere(path, act, check) > 10


def test_a_crash_at_any_step_of_starting_a_block_loses_and_invents_nothing(full_block):
    journals = []

    def act(copy):
        journals.append(Journal.resume(copy, durability="process"))
        journals[-1].append(Closed("a"))

    def check(copy, done):
        while journals:
            journals.pop().close()
        present = entries(copy)
        assert present == ["a"] if done else present in ([], ["a"])
        journal = Journal.resume(copy, takeover=True, durability="process")
        assert journal.append(Closed("next")).seq >= 3
        journal.close()
        assert entries(copy) == [*present, "next"]
        assert (copy / "log/c/1").is_dir()

    assert crash_everywhere(full_block, act, check) > 10


def test_a_crash_while_a_run_is_created_leaves_all_of_it_or_none(tmp_path):
    seen = set()
    for after in (False, True):
        for step in range(1000):
            path = tmp_path / f"{step}{after}/run.zarr"
            with file_system(step, after=after) as system, suppress(Crash):
                Journal.create(path, HEADER, durability="process").close()
            seen.add(path.exists())
            if path.exists():
                assert len(Journal.open(path).records()) == 1
            else:
                Journal.create(path, HEADER, durability="process").close()
            if not system.dead:
                break
    assert seen == {True, False}
    assert step > 15


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        ("write", errno.ENOSPC, "No space left on device; free some space"),
        ("open", errno.EDQUOT, "free some space"),
        ("link", errno.ENOSPC, "free some space"),
        ("link", errno.EIO, "Input/output error; check the file system"),
        ("fsync", errno.EIO, "Input/output error; check the file system"),
        ("write", errno.EROFS, "Read-only file system; check the permissions"),
    ],
)
@pytest.mark.parametrize("retried", [True, False])
def test_a_failing_disk_acknowledges_nothing_and_the_run_goes_on_when_it_works_again(
    path, call, error, says, retried
):
    journal = Journal.resume(path)
    for _ in range(2):
        with (
            file_system(call, error=error),
            pytest.raises(StoreError, match=rf"(?s)\A[^\n]*{says}[^\n]*\Z"),
        ):
            journal.append(Closed("a"))
    assert not list((path / "log/c/0").glob(".*"))
    assert entries(path) == []
    assert journal.append(Closed("a" if retried else "b")).seq == 2
    journal.append(Closed("c"))
    journal.close()
    assert entries(path) == ["a" if retried else "b", "c"]


@pytest.mark.parametrize("call", ["link", "unlink", "fsync"])
@pytest.mark.parametrize("retried", [True, False])
def test_an_entry_whose_failure_was_reported_after_it_was_linked_is_recorded_once(
    path, call, retried
):
    journal = Journal.resume(path)
    with file_system() as counting:
        journal.append(Closed("first"))
    names = [name for name, _ in counting.calls]
    step = len(names) - 1 - names[::-1].index(call)
    with file_system(step, after=True, error=errno.EIO), pytest.raises(StoreError):
        journal.append(Closed("a"))
    with file_system() as system:
        record = journal.append(Closed("a" if retried else "b"))
    assert ("fsync", str(path / "log/c/0/3")) in system.calls  # what was left unsynced
    assert record.seq == (3 if retried else 4)
    journal.append(Closed("c"))
    journal.close()
    assert entries(path) == (["first", "a", "c"] if retried else ["first", "a", "b", "c"])


def test_a_failing_disk_at_the_start_of_a_block_is_survived_too(full_block):
    journal = Journal.resume(full_block)
    for call in ("replace", "mkdir", "write"):
        with file_system(call, error=errno.ENOSPC), pytest.raises(StoreError, match="free some"):
            journal.append(Closed("x"))
    assert journal.append(Closed("x")).seq == 3
    journal.close()
    assert entries(full_block) == ["x"]


@pytest.mark.parametrize("call", ["mkdir", "open", "write", "link", "rename"])
def test_a_run_that_cannot_be_created_leaves_nothing_behind(tmp_path, call):
    path = tmp_path / "run.zarr"
    with file_system(call, error=errno.ENOSPC), pytest.raises(StoreError):
        Journal.create(path, HEADER)
    assert list(tmp_path.iterdir()) == []
    Journal.create(path, HEADER).close()


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_is_refused(tmp_path, error):
    with (
        file_system("link", error=error),
        pytest.raises(StoreError, match=r"has no hard links .* another file system"),
    ):
        Journal.create(tmp_path / "run.zarr", HEADER)
    assert list(tmp_path.iterdir()) == []


def test_a_write_cut_short_is_completed(path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    journal = Journal.resume(path)
    journal.append(Closed("x" * 100))
    journal.close()
    assert entries(path) == ["x" * 100]
