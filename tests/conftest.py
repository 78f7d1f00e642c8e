"""What every test starts from."""

from __future__ import annotations

import pytest

from spot_dask import errors


@pytest.fixture(autouse=True)
def nothing_was_said_before() -> None:
    """Warnings that are logged once per process are logged once per test."""
    errors._said.clear()
