"""Certificates that sign themselves, for tests of TLS."""

from __future__ import annotations

import datetime
import ipaddress
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAME = "shop.example"
PEM = serialization.Encoding.PEM
PRIVATE = serialization.PrivateFormat.PKCS8


def certificate_and_key(address: str = "192.0.2.5", locked: bool = False) -> tuple[str, str]:
    """Make a certificate for `NAME` and an IP address, and its private key, both in PEM; each time others.

    The subjects differ too: a client that trusts two certificates tells them apart by their subjects.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    number = x509.random_serial_number()
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME),
            x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, str(number)),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), number)
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(9))
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address(address))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if locked:
        lock = serialization.BestAvailableEncryption(secrets.token_bytes())
    return certificate.public_bytes(PEM).decode(), key.private_bytes(PEM, PRIVATE, lock).decode()
