"""A study as it usually ends, and what its report says."""

from __future__ import annotations

import pytest
from report_studies import Builder, facts, fill

from spot_dask.report import html


@pytest.fixture(scope="session")
def full():
    """A study as it usually ends: 40 mixed evaluations, some failed."""
    return fill(Builder(study={"file": "study.py", "name": "study", "text": "space = ..."}), 40)


@pytest.fixture(scope="session")
def full_context(full):
    return full.context()


@pytest.fixture(scope="session")
def full_facts(full_context):
    return facts(full_context)


@pytest.fixture(scope="session")
def full_page(full_context):
    return html(full_context)
