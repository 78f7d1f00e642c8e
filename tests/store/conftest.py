from collections.abc import Iterator

import object_service
import pytest


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    with object_service.s3() as port:
        yield port


@pytest.fixture
def s3(s3_port: int) -> Iterator[int]:
    """The port of an S3 service to which the environment points."""
    with object_service.environment(s3_port):
        yield s3_port
