"""The settings of a study, each declared once; all else about a setting follows from that.

A setting is a field of a table below, made by ``setting(...)``. From the declaration come its key
in a TOML file and for ``--set``, its flag and environment variable, its checks (the same from
Python and from the command line), its place in a store's header, what ``resume`` restores, what
``shared`` hands to the tuner and the coordinator, and its row of ``docs/settings.md``.

This module imports nothing heavy: usage errors and help must be quick.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, get_args

from spot_dask import constraints, plugins
from spot_dask.cards import Listed
from spot_dask.errors import StudyError, did_you_mean, shown
from spot_dask.records import FoldPlan

if TYPE_CHECKING:
    from spot_dask.records import Configuration

DEFAULT_EVALUATIONS = 50
"""The budget of a study that names none."""

Durability = Literal["fsync", "process"]
"""What an acknowledged record survives: loss of power, or only the death of the process."""

Isolation = Literal["warm", "process", "thread"]
"""Where a training runs: in a process that has run others, in a new one, in the worker's own."""

Key = tuple[str, ...]


def one_line(problem: object) -> str:
    """The first line of a message, or the kind of an exception that has none."""
    try:
        lines = str(problem).strip().splitlines()
    except Exception:  # an exception of a user's own may be unable to tell itself
        lines = []
    return lines[0] if lines else type(problem).__name__


# --- kinds of values --------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A type of values with its bounds, which ``expected`` puts in words.

    ``allows`` tells whether a Python object is such a value. ``read`` makes one of what TOML holds,
    which ``written`` describes where it differs; it raises ValueError. ``write`` makes JSON of one.
    ``bare``: the command line takes a text as it stands, and not as TOML. ``many``: it takes the
    flag several times. ``path``: a shell completes it as one.
    """

    expected: str
    allows: Callable[[Any], bool]
    metavar: str
    read: Callable[[Any], Any] = lambda value: value
    write: Callable[[Any], Any] = lambda value: value
    bare: bool = False
    choices: tuple[str, ...] = ()
    written: str = ""
    many: bool = False
    path: bool = False


def is_number(value: object) -> bool:
    """Whether the value is an int or a float, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(least: int) -> Kind:
    """Whole numbers from ``least``."""
    expected = f"a whole number, at least {least}"
    return Kind(expected, lambda value: type(value) is int and value >= least, "INTEGER")


def number(expected: str, allows: Callable[[Any], bool]) -> Kind:
    """Numbers that a function allows."""
    return Kind(
        expected,
        lambda value: is_number(value) and allows(value),
        "NUMBER",
        lambda value: float(value) if is_number(value) else value,
    )


def share(low: float, high: float) -> Kind:
    """Numbers from ``low`` to ``high``."""
    return number(f"a share from {low:g} to {high:g}", lambda value: low <= value <= high)


def choice(*names: str) -> Kind:
    """One of some texts."""
    expected = f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
    return Kind(
        expected, lambda value: value in names, f"[{'|'.join(names)}]", bare=True, choices=names
    )


_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def duration(value: object) -> float:
    """Seconds of ``"90m"``, ``"6h"``, ``"1h30m"``, ``"45s"`` or ``"2d"``; raises ValueError."""
    text = str(value).replace(" ", "")
    if _NUMBER.fullmatch(text):
        raise ValueError(f"{text} has no unit; write {text}s, {text}m, {text}h or {text}d")
    if not isinstance(value, str) or not _DURATION.fullmatch(text):
        raise ValueError(f"{value!r} is not a duration; write it like 90m, 6h, 1h30m, 45s or 2d")
    seconds = sum(float(n) * _UNITS[u] for n, u in re.findall(r"([\d.]+)([dhms])", text))
    if seconds <= 0:
        raise ValueError(f"{value!r} is no time at all; a wall time must be positive")
    return seconds


_BYTES = {"k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)([kmgt])(i?)b", re.IGNORECASE)
LEAST_BYTES = 10**6


def size(value: object) -> int:
    """Bytes of ``"8GB"`` (8e9), ``"500MB"`` or ``"1.5GiB"`` (1.5 times 2**30).

    Raises ValueError for another text.
    """
    found = _SIZE.fullmatch(value.replace(" ", "")) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is no size; write it like 8GB, 500MB or 1.5GiB")
    amount, unit, binary = found.groups()
    return int(float(amount) * (1024 if binary else 1000) ** _BYTES[unit.lower()])


def _is_size(value: object) -> bool:
    try:
        return size(value) >= LEAST_BYTES
    except ValueError:
        return False


SIZE = Kind(
    "a size with its unit, 1MB or more, such as 8GB, 500MB or 1.5GiB",
    _is_size,
    "SIZE",
    bare=True,
    written="a size with its unit: 8GB, 500MB, 1.5GiB",
)
SECONDS = Kind(
    "seconds, more than 0",
    lambda value: is_number(value) and value > 0,
    "DURATION",
    duration,
    bare=True,
    written="a time with its unit: 90m, 6h, 1h30m",
)
TEXT = Kind("a text", lambda value: isinstance(value, str) and value != "", "TEXT", bare=True)
FLAG = Kind("true or false", lambda value: isinstance(value, bool), "BOOLEAN")
DIRECTORY = Kind(
    "a path",
    lambda value: TEXT.allows(value) or hasattr(value, "__fspath__"),
    "DIR",
    bare=True,
    path=True,
)
PLACE = replace(TEXT, path=True)
RECORDED = replace(DIRECTORY, write=lambda value: None if value is None else str(value))
COMPONENT = Kind(
    "a name",
    lambda value: value != "" and not isinstance(value, int | float | list | dict),
    "NAME",
    write=lambda value: None if value is None else plugins.name_of(value),
    bare=True,
)
TRACKERS = Kind(
    "a list of names",
    lambda value: isinstance(value, list | tuple) and all(map(COMPONENT.allows, value)),
    "NAME",
    lambda value: (value,) if isinstance(value, str) else value,
    bare=True,
    many=True,
)
UNTIL = Kind(
    "'noise', 'never' or a number, more than 0",
    lambda value: value in ("noise", "never") or (is_number(value) and 0 < value < float("inf")),
    "noise|NUMBER",
    lambda value: float(value) if is_number(value) else value,
)
GPUS = number(
    "a whole number or a share such as 0.25",
    lambda value: (
        value == 0
        or (0 < value < float("inf") and abs((each := max(value, 1 / value)) - round(each)) < 1e-6)
    ),
)


# --- declarations -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The declaration of a setting.

    ``before`` is what a run did whose store is older than the setting. Only what is ``recorded``
    is in a store's header and restored by ``resume``. The text none turns ``off`` a setting that
    can be.
    """

    kind: Kind
    default: Any
    help: str
    flag: str | None = None
    metavar: str | None = None
    before: Any = None
    recorded: bool = True
    off: bool = False
    key: Key = ()
    attribute: str = ""

    @property
    def name(self) -> str:
        """The key as ``--set`` takes it and messages tell it."""
        return ".".join(self.key[1:] if self.key[0] == "study" else self.key)

    def check(self, value: Any) -> Any:
        """The value; raises ValueError if the setting cannot have it."""
        if not (self.kind.allows(value) or (value is None and self.default is None)):
            near = did_you_mean(value, self.kind.choices)
            raise ValueError(f"{self.name} is {value!r}; expected {self.kind.expected}{near}")
        return value

    def read(self, value: Any) -> Any:
        """The value that a value of TOML stands for; raises ValueError."""
        if self.off and value == "none":
            return None
        try:
            found = self.kind.read(value)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        return self.check(found)

    def from_text(self, text: str) -> Any:
        """A text of the command line as a value of TOML; raises ValueError if it is not right."""
        value = text if self.kind.bare else _toml_value(text)
        self.read(value)
        return value


def setting(
    kind: Kind, default: Any = None, *, before: Any = ..., key: Key = (), **more: Any
) -> Any:
    """A field of a table; see ``Setting``. Older stores mean the default unless ``before`` says."""
    before = default if before is ... else before
    declared = Setting(kind=kind, default=default, before=before, key=key, **more)
    return field(default=default, metadata={"setting": declared})


class SettingsTable(Listed):
    """A dataclass of settings, whose values are checked when it is made; tables may be nested."""

    _unlisted = frozenset(
        ("all_declared", "declared", "expect", "nested", "restored", "settings", "table")
    )
    table: ClassVar[str] = "study"
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __new__(cls, *given: Any, **named: Any) -> Self:
        """Raises TypeError, with the nearest name, for an argument that there is none of."""
        known = [item.name for item in fields(cls) if item.init]
        for name in named:
            if name not in known:
                near = did_you_mean(name, known) or f"; there are: {', '.join(known)}"
                raise TypeError(f"{cls.__name__} takes no argument {name!r}{near}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for declared in self.declared():
            declared.check(getattr(self, declared.attribute))
        for name, table in self.nested().items():
            table.expect(name, getattr(self, name))

    @classmethod
    def expect(cls, name: str, value: object) -> None:
        """Raise ValueError, with the name of an argument, unless its value is such a table."""
        if not isinstance(value, cls):
            arguments = ", ".join(f"{declared.attribute}=..." for declared in cls.declared())
            raise ValueError(f"{name} is {shown(value)}; expected a {cls.__name__}({arguments})")

    @classmethod
    def declared(cls) -> Iterator[Setting]:
        """The table's own settings, in the order of declaration."""
        for item in fields(cls):
            if found := item.metadata.get("setting"):
                key = found.key or (cls.table, item.name)
                yield replace(found, key=key, attribute=item.name)

    @classmethod
    def nested(cls) -> dict[str, type[SettingsTable]]:
        """The tables in this one, by the name of their field."""
        found: dict[str, type[SettingsTable]] = {}
        for item in fields(cls):
            made: object = item.default_factory
            if isinstance(made, type) and issubclass(made, SettingsTable):
                found[item.name] = made
        return found

    @classmethod
    def all_declared(cls) -> Iterator[Setting]:
        """The settings of the tables in this one, then its own."""
        for table in (*cls.nested().values(), cls):
            yield from table.declared()

    @property
    def settings(self) -> dict[str, Any]:
        """The recorded settings as JSON, as a store's header has them."""
        own = {
            declared.attribute: declared.kind.write(getattr(self, declared.attribute))
            for declared in self.declared()
            if declared.recorded
        }
        return own | {name: getattr(self, name).settings for name in self.nested()}

    @classmethod
    def restored(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments that make the settings of a header again, or those that an older run had."""
        if not isinstance(document, Mapping):
            raise ValueError(f"the settings of the {cls.table} are {document!r}; expected a table")
        own = {
            declared.attribute: document.get(declared.attribute, declared.before)
            for declared in cls.declared()
            if declared.recorded
        }
        nested = cls.nested().items()
        return own | {
            name: table(**table.restored(document.get(name, {}))) for name, table in nested
        }


# --- the settings -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Budget(SettingsTable):
    """When a run ends: after so many evaluations, epochs or so much wall time (seconds).

    Whichever is first. All count over all sessions of the run, failed evaluations included.
    ``until`` ends the search before that, and what it found is confirmed then: ``"noise"`` where
    the bound of the regret is below the noise of a single training, or a number, in units of the
    objective, that it must fall below. ``"never"`` takes such a rule back when a run is resumed.

    >>> from spot_dask import Budget
    >>> Budget(evaluations=40, wall=6 * 3600).limit
    40
    >>> Budget(evaluations=0)
    Traceback (most recent call last):
    ValueError: budget.evaluations is 0; expected a whole number, at least 1
    """

    table = "budget"

    evaluations: int | None = setting(
        whole(1), flag="--evaluations",
        help="Budget: number of evaluations in all [without another budget: 50].",
    )  # fmt: skip
    wall: float | None = setting(
        SECONDS, flag="--wall",
        help="Budget: wall time with its unit, such as 90m or 6h.",
    )  # fmt: skip
    epochs: int | None = setting(
        whole(1), flag="--epochs",
        help="Budget: epochs of all trainings together; early stopping leaves more of them.",
    )  # fmt: skip
    until: str | float | None = setting(
        UNTIL, flag="--until",
        help="End the search early: where nothing can be better than the best by more than the "
        "noise of a training, or than a number in units of the objective.",
    )  # fmt: skip

    @property
    def limit(self) -> int | None:
        """The number of evaluations a run ends after; None if only time or epochs end it."""
        if self.evaluations is None and self.wall is None and self.epochs is None:
            return DEFAULT_EVALUATIONS
        return self.evaluations


class _Cube(Protocol):
    @property
    def d(self) -> int: ...


@dataclass(frozen=True)
class Design(SettingsTable):
    """How a study begins.

    ``kind`` fills the space: ``lhs`` is an optimised Latin hypercube, ``sobol`` a scrambled Sobol
    sequence. ``initial`` counts distinct configurations, the default and the user's included;
    None is max(8, d / 2): with 64 evaluations at d <= 10 the regret after 8 points of design was
    measured to be a quarter below that after 2 d. Each is evaluated ``replicates`` times.

    >>> from spot_dask import Design, Real, Space
    >>> Design(kind="sobol", initial=16)
    Design(kind='sobol', initial=16, replicates=1)
    >>> Design().size(Space(lr=Real(0.0, 1.0)))
    8
    """

    table = "design"

    kind: Literal["lhs", "sobol"] = setting(
        choice("lhs", "sobol"), "lhs",
        help="How the initial design fills the space: Latin hypercube or Sobol sequence.",
    )  # fmt: skip
    initial: int | None = setting(
        whole(1), help="Configurations of the initial design [max(8, d/2) for d parameters]."
    )
    replicates: int = setting(whole(1), 1, help="Trainings of each of them.")

    def size(self, space: _Cube) -> int:
        """Number of distinct configurations asked for; a finite space may have fewer."""
        return max(8, (space.d + 1) // 2) if self.initial is None else self.initial


@dataclass(kw_only=True)
class Settings(SettingsTable):
    """The settings of a study. Components may also be objects, where the type is Any.

    ``ranges`` is what became of the space while a run went on: ``within``, the one that is searched
    now, ``before``, the one until then, and ``hull``, the least that holds all it has been. Empty
    before any change. ``constraints`` are limits of metrics, see ``constraints.py``. ``folds`` are
    those of the task.
    """

    name: str = setting(TEXT, "study", recorded=False, help="The study's name.")
    seed: int = setting(whole(0), 0, flag="--seed", help="Seed of the study.")
    budget: Budget = field(default_factory=Budget)
    design: Design = field(default_factory=Design)
    start: Sequence[Configuration] = ()
    prior: Mapping[str, Any] = field(default_factory=dict)
    constraints: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, Any] = field(default_factory=dict)
    folds: FoldPlan = field(default_factory=FoldPlan)
    surrogate: Any = setting(
        COMPONENT, "kriging",
        help="Model of the objective: a name, sklearn:module.Class(...) or package.module:Name.",
    )  # fmt: skip
    infill: Any = setting(
        COMPONENT, "averaged_ei",
        help="Criterion that proposes: a name such as log_ei or ucb, or package.module:Name.",
    )  # fmt: skip
    replication: float = setting(
        share(0, 0.5), 0.0,
        help="Largest share of the search for training the best again at its end; 0 is none.",
    )  # fmt: skip
    search: Any = setting(
        COMPONENT, "spot", flag="--search", metavar="NAME",
        help="Way to search: spot, or for a comparison random, sobol, grid, evolution, pattern.",
    )  # fmt: skip
    repeats: int = setting(
        whole(0), 2, before=0,
        help="Early trainings of the default and the best again, with other seeds: shows noise.",
    )  # fmt: skip
    confirm: float | None = setting(
        share(0, 0.5), before=0.0, flag="--confirm", metavar="SHARE",
        help="Share of the budget that confirms tuned against default with fresh seeds; 0 is none "
        "[0.2 from 25 evaluations on, at least 5 seeds each].",
    )  # fmt: skip
    mde: float | None = setting(
        number("a number, more than 0", lambda value: value > 0), flag="--mde", metavar="EFFECT",
        help="The smallest improvement that matters to you, in units of the objective.",
    )  # fmt: skip
    transform: str = setting(
        choice("auto", "identity", "log", "sqrt", "logit"), "auto",
        help="Scale of the objective for statements; auto is the one that predicts best.",
    )  # fmt: skip
    early_stopping: Any = setting(
        COMPONENT, before=None, off=True, flag="--early-stopping", metavar="RULE",
        help="End trainings that promise too little: rank, rank(share=0.5), asha; none is off.",
    )  # fmt: skip
    spare: float = setting(
        share(0, 0.5), 0.05, before=0.0,
        help="Share of what early stopping would end that goes on by chance: tells what it costs.",
    )  # fmt: skip
    length: str | None = setting(
        TEXT,
        help="Parameter that holds a training's epochs, where they differ [epochs of a TorchTask].",
    )  # fmt: skip
    batch: int | None = setting(
        whole(1), flag="--batch", metavar="Q", help="Propose Q trials together."
    )
    sync: bool = setting(
        FLAG,
        False,
        flag="--sync",
        help="Wait for a whole batch, so that the same seed gives the same run.",
    )
    gpus: float | None = setting(
        GPUS, recorded=False,
        help="GPUs of a training: 2, or 0.25 for one that four share [one where there are any].",
    )  # fmt: skip
    timeout: float | None = setting(
        SECONDS, flag="--timeout", recorded=False,
        help="End a training that takes longer, such as 90m, as a failed evaluation.",
    )  # fmt: skip
    memory: str | None = setting(
        SIZE, flag="--memory", recorded=False,
        help="End a training that, with all it starts, comes to have more, as a failed evaluation.",
    )  # fmt: skip
    isolation: Isolation = setting(
        choice(*get_args(Isolation)), "warm", flag="--isolation", recorded=False,
        help="Where a training runs: in a process used again, a new one, or the worker's.",
    )  # fmt: skip
    checkpoints: Any = setting(
        DIRECTORY, flag="--checkpoints", recorded=False,
        help="Where trainings save what interrupted ones go on from; all workers must share it.",
    )  # fmt: skip
    keep: str | None = setting(
        choice("best", "all"), off=True, flag="--keep",
        help="Keep what trainings leave as artifacts: of the best, or of all; none is off.",
    )  # fmt: skip
    artifacts: Any = setting(
        RECORDED, flag="--artifacts",
        help="Where artifacts are kept: a directory that all workers share, or s3://bucket/name "
        "[beside the store].",
    )  # fmt: skip
    trackers: Sequence[Any] = setting(
        TRACKERS, (), flag="--track", recorded=False,
        help="Follow the run elsewhere, too: tensorboard, mlflow, wandb, each with settings in "
        "parentheses where wanted; repeatable.",
    )  # fmt: skip
    no_source: bool = setting(
        FLAG, False, flag="--no-source", recorded=False,
        help="Keep the study's source out of the store: only its file, and a digest of the source.",
    )  # fmt: skip
    durability: Durability = setting(
        choice(*get_args(Durability)), "fsync", flag="--durability",
        help="What evaluations survive: loss of power, or only the end of the process.",
    )  # fmt: skip

    @property
    def settings(self) -> dict[str, Any]:
        """The recorded settings as JSON, as a store's header has them."""
        start = [dict(config) for config in self.start]
        more = {"prior": dict(self.prior), "constraints": dict(self.constraints)}
        more |= {"ranges": dict(self.ranges), "folds": asdict(self.folds)}
        return super().settings | {"start": start} | more

    @classmethod
    def restored(cls, document: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments that make the settings of a header again, or those that an older run had."""
        values, start = super().restored(document), document.get("start", [])
        if not (isinstance(start, list) and all(isinstance(config, dict) for config in start)):
            raise ValueError(f"start is {start!r}; expected a list of configurations")
        prior = document.get("prior", {})
        if not (
            isinstance(prior, dict) and all(isinstance(given, list) for given in prior.values())
        ):
            raise ValueError(f"prior is {prior!r}; expected beliefs by parameter")
        ranges = document.get("ranges", {})
        spaces = ("within", "before", "hull")
        if not isinstance(ranges, dict) or (
            ranges and not all(isinstance(ranges.get(name), dict) for name in spaces)
        ):
            raise ValueError(f"ranges is {ranges!r}; expected spaces by name")
        limits = constraints.checked(document.get("constraints", {}))
        try:
            folds = FoldPlan(**document.get("folds", {}))
        except TypeError:
            raise ValueError(f"folds is {document['folds']!r}; expected k, repeats, ...") from None
        told: dict[str, Any] = {"start": start, "prior": prior, "constraints": limits}
        told |= {"ranges": ranges, "folds": folds}
        return values | told


@dataclass(kw_only=True)
class Venue(SettingsTable):
    """Where a study is run and its store is kept; no store records it."""

    scheduler: str | None = setting(
        PLACE, key=("cluster", "scheduler"), flag="--scheduler", metavar="ADDR",
        recorded=False,
        help="Use a running Dask scheduler: tls://host:8786, tcp://127.0.0.1:8786 or its file.",
    )  # fmt: skip
    local: int | None = setting(
        whole(0), key=("cluster", "local"), flag="--local", metavar="N",
        recorded=False,
        help="Train N at a time on this machine (0: in sequence, without Dask).",
    )  # fmt: skip
    store: str | None = setting(
        PLACE, key=("store", "path"), flag="--store", metavar="STORE", recorded=False,
        help="Where to keep the results: a path or s3://bucket/run.zarr; must not exist yet.",
    )  # fmt: skip


KEYS: Mapping[Key, Setting] = {
    declared.key: declared for table in (Settings, Venue) for declared in table.all_declared()
}
"""Every setting by its key."""


def check(name: str, value: Any) -> None:
    """Raises ValueError if the setting of a name, such as ``gpus``, cannot have the value."""
    next(declared for declared in KEYS.values() if declared.name == name).check(value)


def shared(kind: type, settings: Settings) -> dict[str, Any]:
    """The settings for which a dataclass has a field of the same name."""
    names = {item.name for item in fields(kind)} & {item.name for item in fields(Settings)}
    return {name: getattr(settings, name) for name in names}


def reference() -> str:
    """The table of all settings for the documentation, in Markdown."""
    lines = ["| key | value | default | flag | |", "|---|---|---|---|---|"]
    for declared in KEYS.values():
        default = "" if declared.default is None else f"`{json.dumps(declared.default)}`"
        flag = "" if declared.flag is None else f"`{declared.flag}`"
        value = declared.kind.written or declared.kind.expected
        lines.append(f"| `{declared.name}` | {value} | {default} | {flag} | {declared.help} |")
    return "\n".join(lines)


# --- values that were given -------------------------------------------------------------------


@dataclass(frozen=True)
class GivenValue:
    """A value for the setting of a key, in parts, and where it was given (for messages)."""

    key: Key
    value: Any
    where: str

    @property
    def name(self) -> str:
        return ".".join(self.key)

    def __str__(self) -> str:
        """The setting as ``--set`` takes it."""
        key = self.key[1:] if self.key[0] == "study" else self.key
        return f"{'.'.join(key)}={json.dumps(self.value, ensure_ascii=False)}"

    @property
    def told(self) -> str:
        """Where it was given and, unless that says it, which key."""
        own = self.key in KEYS and KEYS[self.key].flag == self.where
        return self.where if own else f"{self.where} {self.name.removeprefix('study.')}"

    def error(self, problem: object) -> StudyError:
        named = "" if self.key in KEYS else f"{self.name}: "  # a setting's own errors name it
        return StudyError(f"{self.where}: {named}{one_line(problem)}")


def parse_override(
    text: str, where: str = "--set", example: str = "space.lr.high=0.1"
) -> GivenValue:
    """``KEY=VALUE`` as a setting; VALUE is a TOML value, a bare word is a string."""
    key, equals, value = text.partition("=")
    parts = tuple(part.strip() for part in key.split("."))
    if not equals or not all(parts):
        raise StudyError(f"{where} {text}: expected KEY=VALUE, such as {example}")
    given = GivenValue(("study", *parts) if len(parts) == 1 else parts, None, where)
    try:
        return replace(given, value=_toml_value(value.strip()))
    except ValueError as error:
        raise given.error(error) from error


def _toml_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        if text[:1] in ("'", '"', "[", "{"):
            raise ValueError(f"{text} is not a TOML value; check quotes and brackets") from None
        return float(text) if _NUMBER.fullmatch(text) else text
    except RecursionError:
        raise ValueError("the value is nested too deeply") from None
    return parsed["value"] if parsed.keys() == {"value"} else text


def plain(value: Any) -> Any:
    """The value if JSON can hold it (a table or a date is none); raises ValueError."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"expected a number, a text, true/false or a list, got {value}")
    return value
