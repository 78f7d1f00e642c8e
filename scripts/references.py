"""The reference pages of the documentation, made from what the code itself says.

``scripts/references`` writes them; a test makes them again and compares, so that no page tells of
an option, a setting or a function that is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spot_dask import settings

DOCS = Path(__file__).parent.parent / "spot_dask" / "docs"


def settings_page() -> str:
    """The table of all settings, from their declarations."""
    return f"""\
# Settings

Every setting of a study, with its key, values, default and flag.

A setting has one meaning wherever it is given:

- as a flag of `spot-dask run`, such as `--seed 3`;
- in the environment: `SPOT_DASK_SEED=3`;
- by its key: `--set seed=3`, `--set design.initial=16`, `--set space.lr.high=0.1`;
- in a TOML file, where keys without a dot are in the table `[study]`, beside
  `file = "study.py:name"`, which names the study;
- in Python: `Study(..., seed=3, budget=Budget(evaluations=40), design=Design(initial=16))`. Times
  are seconds there, and `client`, `local` and `store` are arguments of `study.run`.

Where a setting is given twice, the first of these counts: a flag, the environment, `--set`, the
TOML file, the study in Python.

`space.NAME = value` fixes a parameter. `space.NAME.FIELD` changes its `low`, `high`, `scale`,
`levels` or `default`.

A run keeps its settings. `spot-dask resume` takes the seed, the surrogate and all else that the
store records from the store. It changes the budget by `--evaluations`, `--epochs`, `--wall` and
`--until`. `gpus`, `timeout`, `memory`, `isolation` and `checkpoints` are not recorded: it takes
them from the study.

## All settings

{settings.reference()}
"""


PAGES: dict[str, Callable[[], str]] = {"settings": settings_page}
"""The topic of each page that is made, and what makes it."""


def main() -> None:
    """Write all pages."""
    for topic, page in PAGES.items():
        (DOCS / f"{topic}.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
