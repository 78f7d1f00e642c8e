"""How the processes of a cluster reach each other: addresses, certificates, and what is refused.

Whoever reaches an unprotected Dask port can run code there. So plain TCP stays on this machine
unless the user insists.
"""

from __future__ import annotations

import ipaddress
import json
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spot_dask.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Security

ADDRESS = re.compile(r"(?:(tcp|tls|ws|wss)://)?(\[[0-9a-fA-F:.]+\]|[^/:\[\]]+):(\d+)")
ENCRYPTED = ("tls", "wss")

ADVICE = (
    "use TLS ('spot-dask certificates DIR' makes what --tls-ca-file, --tls-cert and --tls-key "
    "name), or give --insecure on a network that you trust"
)


@dataclass(frozen=True)
class Tls:
    """The files (PEM) of a cluster's certificate authority, a certificate of it and its key."""

    ca_file: str
    cert: str
    key: str

    def security(self) -> Security:
        """The same as Dask wants it, in any role; raises ClusterError if a file is no good."""
        from distributed import Security

        roles = ("client", "scheduler", "worker")
        names = {f"tls_{role}_cert": self.cert for role in roles}
        names |= {f"tls_{role}_key": self.key for role in roles}
        security = Security(require_encryption=True, tls_ca_file=self.ca_file, **names)
        try:
            security.get_listen_args("scheduler")
        except (OSError, ssl.SSLError) as error:
            raise ClusterError(
                f"the certificates {self.ca_file}, {self.cert} and {self.key} cannot be used "
                f"({error}); 'spot-dask certificates DIR' makes new ones"
            ) from None
        return security


@dataclass(frozen=True)
class Connection:
    """The way to a scheduler.

    ``address`` is tcp://host:8786, tls://host:8786, or a scheduler file (``*.json``), which is read
    again whenever the scheduler is looked for. ``insecure`` allows plain TCP to another machine.
    """

    address: str
    tls: Tls | None = None
    insecure: bool = False

    @property
    def is_file(self) -> bool:
        """Whether the address is that of a scheduler file."""
        return self.address.endswith(".json")

    def url(self) -> str:
        """The scheduler's address, with its protocol; raises ClusterError if it is refused."""
        address = _from_file(self.address) if self.is_file else self.address
        found = ADDRESS.fullmatch(address)
        if found is None:
            raise ClusterError(
                f"{address!r} is no address of a Dask scheduler; expected one like tcp://host:8786"
            )
        protocol, host, port = found.groups(default="tls" if self.tls else "tcp")
        url = f"{protocol}://{host}:{port}"
        if protocol in ENCRYPTED:
            if self.security().tls_ca_file is None:
                raise ClusterError(
                    f"{url} needs certificates: give --tls-ca-file, --tls-cert and --tls-key, "
                    "those of the cluster"
                )
        elif self.tls is not None:
            raise ClusterError(f"{url} is not encrypted in spite of the certificates; use tls://")
        elif not (self.insecure or is_loopback(host)):
            raise ClusterError(f"{url} is another machine, and plain TCP is open to all: {ADVICE}")
        return url

    @staticmethod
    def is_local(url: str) -> bool:
        """Whether a url is of this machine only."""
        found = ADDRESS.fullmatch(url)
        return found is not None and is_loopback(found[2])

    def security(self) -> Security:
        """The certificates as Dask wants them; those of Dask's own configuration if none."""
        from distributed import Security

        return Security() if self.tls is None else self.tls.security()


def check_listener(host: str, tls: Tls | None, insecure: bool) -> None:
    """Raise ClusterError if listening at ``host`` would offer plain TCP to other machines."""
    if tls is None and not insecure and not is_loopback(host):
        raise ClusterError(f"plain TCP at {host} is open to other machines: {ADVICE}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant; a name is not looked up."""
    host = host.strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _from_file(path: str) -> str:
    try:
        return str(json.loads(Path(path).read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{path} is no file of a running scheduler ({type(error).__name__}); "
            "'spot-dask scheduler --scheduler-file' writes it"
        ) from None
