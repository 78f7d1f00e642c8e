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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from spot_dask.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Security

ADDRESS = re.compile(r"(?:(tcp|tls|ws|wss)://)?(\[[0-9a-fA-F:.]+\]|[^/:\[\]]+):(\d+)")
ENCRYPTED = ("tls", "wss")

CLOCK_SKEW = timedelta(hours=1)
"""By how much the clocks of a cluster's machines may differ."""

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
        address = self.address
        if self.is_file:
            try:
                address = str(json.loads(Path(address).read_text())["address"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ClusterError(
                    f"{address} is no file of a running scheduler ({type(error).__name__}); "
                    "'spot-dask scheduler --scheduler-file' writes it"
                ) from None
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

    async def probe(self, role: str) -> None:
        """Ask whoever listens there who it is; raises where that is no Dask scheduler."""
        from distributed.core import rpc

        arguments = self.security().get_connection_args(role)
        async with rpc(self.url(), connection_args=arguments) as scheduler:
            await scheduler.identity(n_workers=0)


def why_unanswered(error: BaseException) -> str:
    """Why whoever listens at an address did not answer, in a line.

    Dask wraps what TLS says in an error that tells of a remote call.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return (
                "something answers there, but TLS refuses its certificate: it is of another "
                f"authority than yours, or has expired ({cause.reason or cause})"
            )
        cause = cause.__cause__ or cause.__context__
    return str(error).partition("\n")[0] or type(error).__name__


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


def write_certificates(directory: str | Path, days: int) -> None:
    """Write ``ca.pem``, ``cluster.pem`` and ``cluster-key.pem``, valid for so many days.

    They are an authority made for one cluster alone, and one certificate of it. Dask checks that a
    certificate is of the cluster's authority, in both directions, and no names; so any certificate
    gives full access, and one for all members is as safe as one for each. The authority's key is
    not kept: nobody can make further members. Only the owner can read the directory and the key.
    Raises ClusterError if the directory exists or cannot be made.
    """
    from cryptography import x509  # late: a run without TLS does not need it
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    folder = Path(directory)
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        raise ClusterError(
            f"{folder} exists already; certificates are made together, in a new directory"
        ) from None
    except OSError as error:
        raise ClusterError(f"{folder} cannot be made ({error.strerror})") from None
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "spot-dask authority")])
    member = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "spot-dask cluster")])
    roles = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    now = datetime.now(UTC)

    def certify(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> bytes:
        authority = subject == issuer
        usage = x509.KeyUsage(
            digital_signature=not authority,
            key_cert_sign=authority,
            crl_sign=authority,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        builder = (
            x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(authority, 0 if authority else None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(signer, False)
        )
        if not authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage(roles), False)
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM)

    (folder / ".gitignore").write_text("*\n")  # whatever repository it is in
    (folder / "ca.pem").write_bytes(certify(issuer, authority_key.public_key()))
    (folder / "cluster.pem").write_bytes(certify(member, key.public_key()))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "cluster-key.pem").touch(mode=0o600)
    (folder / "cluster-key.pem").write_bytes(secret)
