"""What looks like a secret is in no error that is kept or shown; a store is its owner's."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from spot_dask import Budget, FunctionTask, ProgramTask, Real, RunWarning, Space, Study
from spot_dask.cli import main
from spot_dask.errors import StudyError
from spot_dask.run import Run
from spot_dask.secrets import masked
from spot_dask.store.journal import Journal
from spot_dask.study_file import load, reload

SECRET = "correct-horse battery/staple"

TOKENS = (
    "sk-proj-abcdefghijklmnop1234", "hf_abcdefghijklmnopqrstuvwx", "ghp_abcdefghijklmnop123456",
    "github_pat_11ABCDEFG0abcdefghijk", "AKIAIOSFODNN7EXAMPLE", "glpat-abcdefghijklmnop12",
    "xoxb-123456789012-abcdef", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----",
)  # fmt: skip


@pytest.mark.parametrize("token", TOKENS)
def test_tokens_of_known_forms_are_masked(token):
    assert masked(f"401 for '{token}', try again") == "401 for '***', try again"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pa55word@host/x?y", "https://***@host/x?y"),
        ("postgres://me:x@db:5432/runs", "postgres://***@db:5432/runs"),
        ("https://abcdefghijklmnopqrst@host/x.git", "https://***@host/x.git"),
        ("Authorization: Bearer abcdefghijklmnop.q", "Authorization: Bearer ***"),
        ("s3://bucket/run.zarr, me@host: ssh://git@host/a", None),
        ("task-based sk-learn, half_precision, risk-adjusted loss 0.1234567890123456789", None),
        ("File 'a.py', line 3, in train\n  raise ValueError(KEY)", None),
    ],
)
def test_addresses_lose_what_is_before_the_at_and_other_texts_nothing(text, shown):
    assert masked(text) == (text if shown is None else shown)


@pytest.mark.parametrize(
    "name", ["MY_TOKEN", "DB_PASSWORD", "aws_secret_access_key", "GOOGLE_CREDENTIALS", "API_KEY"]
)
def test_values_of_the_environment_are_masked_by_their_names(name, monkeypatch):
    monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("OTHER_TOKEN", SECRET[:9])
    monkeypatch.setenv("SHORT_TOKEN", "loss")
    assert masked(f"no {SECRET} and {SECRET[:9]}; loss") == "no *** and ***; loss"
    monkeypatch.delenv(name)
    assert SECRET[9:] in masked(SECRET)


def files(path: Path) -> bytes:
    """All that a run has left, unpacked where it is packed."""
    found = [repr(record) for record in Journal.open(path).records()]
    found += [str(p.read_bytes()) for p in path.rglob("*") if p.is_file()]
    return "\n".join(found)


def failing(cfg):
    raise ValueError("x" * 480 + f" {os.environ['MY_TOKEN']} https://me:pa55word@host/ {TOKENS[0]}")


PROGRAM = f"sh -c 'echo $MY_TOKEN; echo {TOKENS[1]}; exit 3' {{x}}"


@pytest.mark.parametrize("local", [0, 1])
@pytest.mark.parametrize("kind", ["function", "program"])
def test_no_error_in_a_store_has_a_secret(kind, local, tmp_path, monkeypatch):
    if (kind, local) == ("function", 1):
        pytest.skip("the worker's way is tried by the program")
    monkeypatch.setenv("MY_TOKEN", SECRET)
    task = FunctionTask(failing) if kind == "function" else ProgramTask(PROGRAM, read="json")
    study = Study(Space(x=Real(0, 1)), task, search="random", repeats=0)
    path = tmp_path / "run.zarr"
    with pytest.warns(RunWarning):
        run = study.run(Budget(evaluations=2), local=local, store=path, progress="auto")
    (error, *_) = [e.outcome.error for e in run.history.failed]
    assert "***" in error.traceback
    written = files(path)
    assert "***" in written
    for secret in (SECRET, SECRET[:12], "pa55word", TOKENS[0], TOKENS[1]):
        assert secret not in written


def test_an_error_of_a_study_is_shown_without_its_secret(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MY_TOKEN", SECRET)
    file = tmp_path / "study.py"
    file.write_text("import os\nraise RuntimeError(os.environ['MY_TOKEN'])\n")
    assert main(["-v", "check", str(file)], standalone_mode=False) == 2
    told = capsys.readouterr()
    assert "***" in told.err
    assert SECRET not in told.err + told.out


def modes(path: Path) -> set[int]:
    return {stat.S_IMODE(p.stat().st_mode) & 0o077 for p in (path, *path.rglob("*"))}


def test_a_new_store_is_its_owners_and_one_that_is_shared_stays_so(tmp_path):
    path = tmp_path / "run.zarr"
    study = Study(Space(x=Real(0, 1)), FunctionTask(lambda cfg: cfg.x), search="random", repeats=0)
    study.run(Budget(evaluations=2), local=0, store=path, progress="none")
    assert modes(path) == {0}
    for place in (path, *path.rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)
    known = {*path.rglob("*")}
    umask = os.umask(0o027)
    try:
        study.resume(path, Budget(evaluations=3), local=0, progress="none")
    finally:
        os.umask(umask)
    new = {*path.rglob("*")} - known
    assert {stat.S_IMODE(p.stat().st_mode) for p in new if p.is_file()} == {0o640}
    assert {stat.S_IMODE(p.stat().st_mode) for p in new if p.is_dir()} <= {0o750}


STUDY = """
from spot_dask import FunctionTask, Real, Space, Study
study = Study(Space(x=Real(0, 1)), FunctionTask(lambda cfg: cfg.x), search="random", repeats=0)
# a remark that is nobody's business
"""


def test_without_its_source_a_store_still_knows_whether_the_study_is_the_same(tmp_path, capsys):
    file, path = tmp_path / "study.py", tmp_path / "run.zarr"
    file.write_text(STUDY)
    words = ["--store", str(path), "--evaluations", "2", "--local", "0", "--no-report"]
    assert not main(["run", str(file), "--no-source", *words], standalone_mode=False)
    assert "nobody's business" not in files(path)
    recorded = Run.open(path).header.study
    assert recorded.keys() == {"file", "name", "overrides", "sha256"}
    assert reload(recorded).study.source["text"] == STUDY
    more = ["resume", str(path), "--evaluations", "3", "--local", "0", "--no-report"]
    capsys.readouterr()
    assert not main(more, standalone_mode=False)
    assert "changed" not in capsys.readouterr().err
    file.write_text(STUDY + "\n")
    with pytest.raises(StudyError, match=r"has changed since the run began.* --study"):
        reload(recorded)
    assert not main([*more[:2], "--study", str(file), *more[2:]], standalone_mode=False)
    assert "has changed since the run began" in capsys.readouterr().err
    assert load(str(file), ["no_source=true"]).study.no_source
    assert "no_source" not in json.dumps(Run.open(path).header.settings)


def test_a_secret_is_found_in_the_forms_that_errors_write_it_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = "a'b\\c\"é longish"
    monkeypatch.setenv("ODD_SECRET", secret)
    for form in (secret, repr(secret), json.dumps(secret), quote(secret, safe="")):
        assert "longish" not in masked(f"refused: {form}")
    for text in (
        "postgres://bob:dbpass77@db/x?password=qpass88&n=1",
        "Authorization: Bearer bearertok99zz",
        "python main.py --api-key=x --db_password=qpass88",
    ):
        said = masked(text)
        assert not any(s in said for s in ("dbpass77", "qpass88", "bearertok99zz")), said
    assert masked("the key=value pairs of a token=") == "the key=value pairs of a token="
