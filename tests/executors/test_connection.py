"""Which ways to a scheduler are allowed."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from pathlib import Path

import pytest
from distributed import Scheduler

from spot_dask.errors import ClusterError
from spot_dask.executors.connection import (
    Connection,
    Tls,
    check_listener,
    why_unanswered,
    write_certificates,
)
from spot_dask.executors.service import SchedulerSettings, run_scheduler


def made(folder: Path) -> Tls:
    """Certificates in a new folder."""
    write_certificates(folder, days=2)
    return Tls(*(str(folder / f"{name}.pem") for name in ("ca", "cluster", "cluster-key")))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "localhost", "[::1]"])
def test_plain_tcp_stays_on_this_machine(host: str) -> None:
    assert Connection(f"{host}:8786").url() == f"tcp://{host}:8786"
    check_listener(host, None, insecure=False)


@pytest.mark.parametrize("host", ["10.0.0.7", "gpu7", "0.0.0.0", "localhost.evil.org", "[fe80::1]"])
@pytest.mark.parametrize("protocol", ["", "tcp://", "ws://"])
def test_plain_tcp_to_another_machine_is_refused_unless_insisted_on(
    host: str, protocol: str
) -> None:
    address = f"{protocol}{host}:8786"
    with pytest.raises(ClusterError, match=r"spot-dask certificates DIR.*--insecure"):
        Connection(address).url()
    with pytest.raises(ClusterError, match=r"spot-dask certificates DIR.*--insecure"):
        check_listener(host, None, insecure=False)
    assert Connection(address, insecure=True).url() == f"{protocol or 'tcp://'}{host}:8786"
    check_listener(host, None, insecure=True)


def test_certificates_make_an_address_tls(tmp_path: Path) -> None:
    tls = made(tmp_path / "certificates")
    assert Connection("gpu7:8786", tls).url() == "tls://gpu7:8786"
    check_listener("0.0.0.0", tls, insecure=False)
    with pytest.raises(ClusterError, match="not encrypted in spite of the certificates"):
        Connection("tcp://127.0.0.1:8786", tls).url()
    with pytest.raises(ClusterError, match="needs certificates: give --tls-ca-file"):
        Connection("tls://gpu7:8786").url()


def test_a_key_is_its_owners_and_no_file_is_overwritten(tmp_path: Path) -> None:
    tls = made(tmp_path / "certificates")
    assert stat.S_IMODE(Path(tls.key).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(tls.key).parent.stat().st_mode) == 0o700
    before = Path(tls.key).read_bytes()
    with pytest.raises(ClusterError, match="exists already"):
        made(tmp_path / "certificates")
    assert Path(tls.key).read_bytes() == before


def test_certificates_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    one, other = made(tmp_path / "one"), made(tmp_path / "other")
    with pytest.raises(ClusterError, match=r"cannot be used .*'spot-dask certificates DIR'"):
        Tls(one.ca_file, one.cert, other.key).security()


def test_a_scheduler_file_is_read_whenever_it_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    way = Connection(str(file))
    with pytest.raises(ClusterError, match=r"scheduler\.json is no file of a running scheduler"):
        way.url()
    for address in ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2"):
        file.write_text(json.dumps({"address": address}))
        assert way.url() == address
    file.write_text(json.dumps({"address": "tcp://10.0.0.7:8786"}))
    with pytest.raises(ClusterError, match="--insecure"):
        way.url()


def test_a_scheduler_of_another_authority_is_told_as_that(tmp_path: Path) -> None:
    tls = {name: made(tmp_path / name) for name in ("theirs", "ours")}

    async def asked() -> Exception:
        async with Scheduler(
            host="tls://127.0.0.1", port=0, security=tls["theirs"].security(),
            dashboard_address="127.0.0.1:0",
        ) as scheduler:  # fmt: skip
            await Connection(scheduler.address, tls["theirs"]).probe("client")
            with pytest.raises(Exception) as caught:  # noqa: PT011 - Dask's own
                await Connection(scheduler.address, tls["ours"]).probe("client")
            return caught.value

    why = why_unanswered(asyncio.run(asked()))
    assert why.startswith("something answers there, but TLS refuses its certificate")
    assert why_unanswered(OSError("no route\nto host")) == "no route"
    assert why_unanswered(TimeoutError()) == "TimeoutError"


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = SchedulerSettings(port=port, dashboard="127.0.0.1:0")
        with pytest.raises(ClusterError, match=rf"127.0.0.1:{port} .*in use.*another --port"):
            run_scheduler(settings, None, False)
