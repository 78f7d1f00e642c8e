"""Requests to object stores (S3, Google Cloud Storage, Azure) through obstore.

Credentials come from the environment, as obstore reads it; they are no part of an address and of no
message.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from spot_dask.errors import StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

logger = logging.getLogger(__name__)

ENVIRONMENT = (
    "set the service's usual environment variables (AWS_..., GOOGLE_... or AZURE_...), "
    "credentials and region or account among them"
)

T = TypeVar("T")


class Raced(Exception):
    """Two creations of an object at once were both refused: to be tried again."""


def is_address(place: object) -> bool:
    """Whether a place is an address such as s3://bucket/name, not a path."""
    return isinstance(place, str) and "://" in place


def objects_at(url: str, timeout: float = 20.0) -> ObjectStore:
    """The objects below a checked address ``scheme://bucket/prefix``.

    A request takes at most ``timeout`` seconds. Raises StoreError without the package, and for a
    service whose settings the environment lacks.
    """
    scheme, _, rest = url.partition("://")
    name, _, prefix = rest.partition("/")
    try:
        from obstore import store
        from obstore.exceptions import BaseError
    except ImportError:
        raise StoreError(
            f"{url}: object stores need the package obstore: pip install 'spot-dask[s3]'"
        ) from None
    kinds: dict[str, Any] = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}
    if scheme not in kinds:
        known = ", ".join(f"{each}://bucket/name" for each in kinds)
        raise StoreError(f"{url} is no address that is known; expected {known}, or a directory")
    endpoints = [value for key, value in os.environ.items() if key.startswith("AWS_ENDPOINT")]
    client = {"connect_timeout": "5s", "timeout": f"{timeout:g}s"}
    if any(endpoint.startswith("http://") for endpoint in endpoints):
        client["allow_http"] = "true"  # whoever names such an endpoint wants it
    try:
        made: ObjectStore = kinds[scheme](
            name, prefix=prefix, client_options=client, retry_config={"max_retries": 0}
        )
    except (BaseError, ValueError) as error:
        raise StoreError(f"{url}: {reason(error)}; {ENVIRONMENT}") from None
    return made


def asked(what: str, patience: float, request: Callable[[], T]) -> T:
    """The answer to a request, repeated for ``patience`` seconds while its failure may pass.

    Raises StoreError that says that it cannot do ``what``, such as "read run.json of s3://b/r".
    """
    from obstore.exceptions import BaseError, NotSupportedError

    end, pause = time.monotonic() + patience, 0.1
    while True:
        try:
            return request()
        except (NotSupportedError, NotImplementedError):
            raise
        except (BaseError, OSError, Raced) as error:
            why = reason(error)
            if not _passing(error) or time.monotonic() + pause > end:
                # The text of the service can hold a signed address: it is left out.
                raise StoreError(f"cannot {what}: {why}; {_advice(error)}") from None
        logger.info("cannot %s: %s; trying again", what, why)
        time.sleep(pause)
        pause = min(2 * pause, 10.0)


def reason(error: BaseException) -> str:
    """What the service says, in one line and without the address of the request."""
    text = str(error).partition("\n\nDebug source")[0]
    message = re.search(r"<Message>(.*?)</Message>", text)
    line = message[1] if message else text.partition("\n")[0].rpartition(" - ")[2]
    return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", line).strip() or type(error).__name__


def _passing(error: BaseException) -> bool:
    """Whether the same request may succeed later: not if the service has answered with a no."""
    from obstore.exceptions import GenericError

    status = re.search(r"status code: (\d+)", str(error))
    no = status is not None and status[1].startswith("4") and status[1] not in ("408", "429")
    return isinstance(error, GenericError | Raced) and not no


def _advice(error: BaseException) -> str:
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    if refused or "169.254." in str(error):  # without credentials the machine's own are asked for
        return ENVIRONMENT
    return "check the bucket, the network and the endpoint"
