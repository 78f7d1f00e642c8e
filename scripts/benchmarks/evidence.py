"""What is stored, as the page of proof and its short form tell it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import comparison, csv_rows, stored
from benchmarks.comparison import NAMES, OURS, Compared, Trained
from benchmarks.coverage import Share, over_all
from benchmarks.score import Interval
from benchmarks.stored import Origin, Published, Scale, StoredRun

NANOCHAT = "nanochat/trials"
QS = (1, 8)
EARLIER = "log_ei"
"""Our criterion of before, which is compared like a peer."""


@dataclass(frozen=True)
class Evidence:
    """What is stored in a folder."""

    folder: Path

    @cached_property
    def verification(self) -> list[StoredRun]:
        return stored.runs("verification", self.folder)

    @cached_property
    def nanochat(self) -> list[StoredRun]:
        return stored.runs("nanochat", self.folder)

    @cached_property
    def published(self) -> list[Published]:
        return stored.published("published", self.folder)

    @cached_property
    def scale(self) -> Scale | None:
        return stored.scales(self.folder).get(NANOCHAT)

    @cached_property
    def origins(self) -> list[Origin]:
        return stored.origins(self.folder)

    @cached_property
    def shares(self) -> list[Share]:
        return csv_rows.load(Share, self.folder / "coverage.csv")

    @cached_property
    def beside(self) -> dict[str, list[Compared]]:
        """By peer: over all kinds of problems, then kind by kind."""
        found = {p: comparison.by_kind(self.verification, p) for p in self.rivals}
        return {peer: rows for peer, rows in found.items() if rows}

    @property
    def rivals(self) -> list[str]:
        ours = {run.optimiser for run in self.verification}
        own = [EARLIER] if EARLIER in ours else []
        return [*comparison.peers_of(self.verification), *own]

    @cached_property
    def elsewhere(self) -> list[Trained]:
        """Published runs, method by method."""
        return comparison.trained_elsewhere(self.published)

    def trained(self, q: int) -> list[Trained]:
        return comparison.trained(self.nanochat, q, self.scale) if self.scale else []


@dataclass(frozen=True)
class Tabled:
    """A section that shows a stored table."""

    name: str
    title: str
    says: str


TABLES = (
    Tabled(
        "proposal", "What a proposal costs",
        "CPU seconds of one proposal on one thread, fit included, after n evaluations in ten "
        "dimensions, q at a time; the least of two. A cell that would take longer than its limit "
        "is left out.",
    ),
    Tabled(
        "utilisation", "How busy slots are kept",
        "The share of slot time spent training, over the share of list scheduling, which knows all "
        "durations; trainings of two seconds on real Dask workers, of ten minutes on virtual ones. "
        "The others train inside the worker; spot-dask in processes of their own.",
    ),
    Tabled(
        "store", "What storing an evaluation costs",
        "Milliseconds of a commit that survives a loss of power, and what opening a run takes.",
    ),
    Tabled(
        "kills", "What kills, faults and copies do",
        "Processes were killed, stopped and cut off at random and at every step; then the "
        "evaluations that had been acknowledged were counted by code of the judges' own.",
    ),
    Tabled(
        "fuzz", "Wrong and hostile input",
        "Every input must give the right exit code with one clear line, or work; nothing may run "
        "code that it names.",
    ),
    Tabled(
        "importance", "Are the importances true?",
        "How many of the 95 % intervals of total Sobol indices hold the truth, on what a search "
        "evaluated; errors are of first-order shares, beside Optuna's on the same evaluations.",
    ),
    Tabled(
        "overhead", "What TorchTask costs",
        "CPU seconds of a training over those of a tight loop that computes the same numbers.",
    ),
    Tabled(
        "confirmation", "What confirmation costs",
        "The last fifth of the budget confirms by default: what it takes from the search.",
    ),
    Tabled(
        "early_stopping", "What early stopping is worth",
        "Regret over that of no stopping with the epochs of so many full trainings, on 12 data "
        "sets of LCBench, four of which are also among those that the search is developed on. It "
        "is off by default.",
    ),
    Tabled(
        "folds", "Folds that end early",
        "Regret at 80 trainings of five folds each, over that of training all folds of all.",
    ),
    Tabled(
        "constrained", "Outcome constraints",
        "Ratios of feasible regrets, and mean regrets, 6 seeds in batches of 4.",
    ),
    Tabled(
        "tracking", "What trackers cost",
        "Sixteen trainings of two seconds with a tracker, over those without.",
    ),
    Tabled(
        "tutorial", "The CIFAR-10 tutorial at equal budgets",
        "Means over 5 fresh seeds of one search each: what each found, not which method is better.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Missed:
    """A line of a table that misses its aim: ``measure`` is the column that was judged."""

    section: str
    what: str
    measure: str
    seen: str
    aim: str


def missed(evidence: Evidence, section: Tabled) -> list[Missed]:
    """The lines of a stored table that miss their aims; "aim" stands right of what is judged."""
    found = stored.table(section.name, evidence.folder)
    if found is None:
        return []
    rows = []
    for row, verdict in zip(found.rows, found.verdicts, strict=True):
        if verdict == "no":
            aim = found.columns.index("aim")
            what = ", ".join(
                f"{name} {value}" if value[:1].isdigit() else value
                for name, value in zip(found.columns, row[: aim - 1], strict=False)
            )
            name = section.name.replace("_", " ").capitalize()
            rows.append(Missed(name, what, found.columns[aim - 1], row[aim - 1], row[aim]))
    return rows


def not_measured(evidence: Evidence) -> list[str]:
    """What a reader may look for and not find."""
    whole = {run.problem for run in evidence.verification if run.optimiser == OURS}
    never, said = [], []
    for peer in comparison.PEERS:
        done = {run.problem for run in evidence.verification if run.optimiser == peer}
        if not done:
            never.append(NAMES[peer])
        elif whole - done:
            said.append(f"{NAMES[peer]} on {len(whole - done)} of {len(whole)} of these problems")
    if never:
        said.insert(0, f"{', '.join(never)} on the verification problems")
    for peer in ("optuna_tpe", "optuna_gp", "smac", "ax"):
        there = {run.q for run in evidence.nanochat if run.optimiser == peer}
        gone = " and ".join(str(q) for q in QS if q not in there)
        if gone:
            said.append(f"{NAMES[peer]} on the language model with q = {gone}")
    return [*said, "other batches and budgets on the verification problems",
            "its real trainings"]  # fmt: skip


def coverage_rows(evidence: Evidence) -> list[list[str]]:
    return over_all(evidence.shares) if evidence.shares else []


def shown(interval: Interval) -> str:
    """Two decimals and the ends in brackets."""
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def shown_bits(interval: Interval) -> str:
    return f"{interval.value:.4f}" + (
        f" [{interval.low:.4f}, {interval.high:.4f}]" if interval.high < 2 else ""
    )


def shown_count(interval: Interval) -> str:
    return f"{interval.value:.1f} [{max(interval.low, 0):.1f}, {min(interval.high, 64):.1f}]"
