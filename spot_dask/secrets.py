"""Secrets in texts of errors, which a store keeps and others read: masked before they are kept.

Masked are the values of environment variables whose names speak of secrets, what stands before the
@ of an address, and what is formed as the tokens of well-known services are. A secret in another
form is not recognised.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from spot_dask.records import Failure, Outcome

MASK = "***"
SHORTEST = 8
"""Shorter values of environment variables are no secrets: they would be found in any text."""

_NAME = re.compile(r"TOKEN|SECRET|PASSW|PASSPHRASE|KEY|CREDENTIAL", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<=://)(?:[^/\s:@'\"]*:[^/\s@'\"]+|[\w.~%-]{16,})(?=@)")
_NAMED = re.compile(  # in the query of an address, among the words of a command
    r"(?<=[?&\s-])(?:\w*(?:password|passwd|secret|token|api[-_]?key))=[^\s&'\"]{4,}", re.IGNORECASE
)
_TOKEN = re.compile(
    r"""(?<![A-Za-z0-9])(?:
        (?:sk|pk|rk)[-_][\w-]{16,} | hf_\w{16,} | gh[pousr]_\w{16,} | github_pat_\w{16,}
        | glpat-[\w-]{16,} | xox[abeoprs]-[\w-]{10,} | (?:AKIA|ASIA)[A-Z0-9]{16} | AIza[\w-]{30,}
        | pypi-[\w-]{32,} | npm_\w{30,} | eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
    )
    | (?<=Bearer\ )[\w.~+/=-]{8,}
    | -----BEGIN[ A-Z]*PRIVATE\ KEY-----[\s\S]*?(?:-----END[ A-Z]*PRIVATE\ KEY-----|\Z)""",
    re.VERBOSE,
)


def masked(text: str) -> str:
    """The text with ``***`` for each secret that is recognised."""
    secrets = {v for name, v in os.environ.items() if len(v) >= SHORTEST and _NAME.search(name)}
    values = {form for secret in secrets for form in _forms(secret)}
    for value in sorted(values, key=len, reverse=True):  # one may be a part of another
        text = text.replace(value, MASK)
    return _TOKEN.sub(MASK, _NAMED.sub(MASK, _ADDRESS.sub(MASK, text)))


def _forms(secret: str) -> Iterator[str]:
    """A secret as errors quote it: as it is, and as Python, JSON and addresses write it."""
    yield secret
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield quote(secret, safe="")


def without_secrets(outcome: Outcome) -> Outcome:
    """The outcome of a training, whose error is masked as this process knows secrets."""
    error = outcome.error
    if error is None:
        return outcome
    texts = (masked(text) for text in (error.type, error.message, error.traceback))
    return replace(outcome, error=Failure(*texts))
