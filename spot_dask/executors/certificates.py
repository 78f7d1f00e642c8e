"""The certificates of one cluster: an authority made for it alone, and one certificate.

Dask checks that a certificate is of the cluster's authority, in both directions, and no names. So
any certificate is full access, and one for all members is as safe as one for each. The authority's
key is not kept: nobody can make further members.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spot_dask.errors import ClusterError

CLOCK_SKEW = timedelta(hours=1)
"""By how much the clocks of a cluster's machines may differ."""


def write(directory: str | Path, days: int) -> None:
    """Write ``ca.pem``, ``cluster.pem`` and ``cluster-key.pem``, valid for so many days.

    The directory and the key are readable by their owner only. Raises ClusterError if the
    directory exists or cannot be made.
    """
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
    authority = _certificate("spot-dask authority", authority_key, None, authority_key, days)
    member = _certificate("spot-dask cluster", key, authority, authority_key, days)
    (folder / "ca.pem").write_bytes(authority.public_bytes(Encoding.PEM))
    (folder / "cluster.pem").write_bytes(member.public_bytes(Encoding.PEM))
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "cluster-key.pem").touch(mode=0o600)
    (folder / "cluster-key.pem").write_bytes(secret)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    days: int,
) -> x509.Certificate:
    """A certificate of that key; without an issuer it is an authority, signed by itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    authority = issuer is None
    now = datetime.now(UTC)
    issuer_public = issuer_key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(authority, 0 if authority else None), critical=True)
        .add_extension(_usage(authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False
        )
    )
    if not authority:
        roles = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(roles), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
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
