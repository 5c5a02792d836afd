"""What a CA gives to sites and to `openssl`, as texts: signing policy, grid-security.conf, request and CA settings.

    files = setup_files(CASetup(subject_der, email="ca@example.org"), directory="/home/ca/.globus/simpleCA")
    files["globus-user-ssl.conf"]

The names and the grammar of the files are those of grid-ca-create, because grid-cert-request (ours and the C one) and
grid-default-ca work with them: grid-security.conf is read by a shell, the *-ssl.conf are OpenSSL's, and of these the C
script takes each `NAME_default = VALUE` line by itself. So values are held to characters that mean nothing to a shell,
to OpenSSL or to those scripts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsi import names, oids
from gsi.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsi.names import Attribute

__all__ = ["CASetup", "make_signing_policy", "setup_files"]

_HARMLESS: Final = re.compile(r"[A-Za-z0-9 ().:?@_-]+")
_EMAIL: Final = re.compile(r"[A-Za-z0-9.+_-]+@[A-Za-z0-9.-]+")
_FIELDS: Final = {
    oids.COUNTRY: ("countryName", "Country (two letters)"),
    oids.STATE: ("stateOrProvinceName", "State or province"),
    oids.LOCALITY: ("localityName", "Locality"),
    oids.STREET: ("streetAddress", "Street"),
    oids.POSTAL_CODE: ("postalCode", "Postal code"),
    oids.ORGANIZATION: ("organizationName", "Organization"),
    oids.ORGANIZATIONAL_UNIT: ("organizationalUnitName", "Organizational unit"),
    oids.DOMAIN_COMPONENT: ("DC", "Domain component"),
    oids.USER_ID: ("UID", "User id"),
}
_NUMBERED: Final = frozenset({oids.ORGANIZATION, oids.ORGANIZATIONAL_UNIT, oids.DOMAIN_COMPONENT})
"""What may occur several times in a name, and so gets a number before it."""


@dataclass(frozen=True, slots=True)
class CASetup:
    """A CA's name and address, as its sites need them.

    Attributes:
        subject_der: The CA's name, DER: at least one part, then one commonName.
        email: Where certificate requests are sent.
        days: How long certificates last that `openssl ca` issues by grid-ca-ssl.conf.
        digest: The digest it signs with.

    Raises:
        ConfigError: The name or the address cannot stand in the files.
    """

    subject_der: bytes
    email: str
    days: int = 365
    digest: str = "sha256"

    def __post_init__(self) -> None:
        """Check that every part can stand in every file."""
        parts = names.attributes(self.subject_der)
        if len(parts) < 2 or parts[-1][0].oid != oids.COMMON_NAME or len(parts[-1]) > 1:
            raise ConfigError(
                "the CA's name must end in a common name and hold at least one part before it",
                hint="like /O=Grid/OU=Test/CN=Grid CA, or cn=Grid CA,ou=Test,o=Grid",
            )
        for group in parts[:-1]:
            if len(group) > 1 or group[0].oid not in _FIELDS:
                raise ConfigError(
                    f"the CA's name holds a part that requests cannot carry: {names.oneline(self.subject_der)}",
                    hint="use DC, C, ST, L, O and OU, each by itself",
                )
        for group in parts:
            if not _HARMLESS.fullmatch(group[0].text()):
                raise ConfigError(
                    f"the CA's name holds characters that its configuration files cannot: {group[0].text()!r}",
                    hint="letters, digits, blanks and ( ) . : ? @ _ - will do",
                )
        if not _EMAIL.fullmatch(self.email):
            raise ConfigError(f"{self.email!r} is no e-mail address")

    @property
    def base(self) -> tuple[Attribute, ...]:
        """The parts before the common name."""
        return tuple(group[0] for group in names.attributes(self.subject_der)[:-1])

    @property
    def common_name(self) -> str:
        """The CA's common name."""
        return names.attributes(self.subject_der)[-1][0].text()

    @property
    def oneline(self) -> str:
        """The CA's name in one-line form."""
        return names.oneline(self.subject_der)

    @property
    def base_rfc4514(self) -> str:
        """The parts before the common name, last first, as grid-security.conf holds them."""
        return names.rfc4514(names.name_from_rdns(names.rdns(self.subject_der)[:-1]))


def make_signing_policy(subject: str, patterns: Sequence[str]) -> bytes:
    """Return a `.signing_policy` that lets one CA sign names of these patterns.

    Args:
        subject: The CA's name in one-line form.
        patterns: Names in one-line form, `*` for any text at the end.

    Raises:
        ConfigError: A quote in one of them, which the grammar cannot hold.
    """
    for text in (subject, *patterns):
        if "'" in text or '"' in text or not text.isprintable():
            raise ConfigError(f"a signing policy cannot hold {text!r}")
    globs = " ".join(f'"{pattern}"' for pattern in patterns)
    return (
        "# What this CA may sign. Installed as <hash>.signing_policy beside its certificate.\n"
        f" access_id_CA      X509         '{subject}'\n"
        " pos_rights        globus        CA:sign\n"
        f" cond_subjects     globus       '{globs}'\n"
    ).encode()


def setup_files(setup: CASetup, *, directory: str) -> dict[str, bytes]:
    """Return the texts by file name.

    Args:
        setup: The CA's name and address.
        directory: Where the CA lives, for grid-ca-ssl.conf.

    Raises:
        ConfigError: The directory's path cannot stand in the file.
    """
    if not re.fullmatch(r"[A-Za-z0-9 /+,.:@_-]+", directory):
        raise ConfigError(
            f"{directory!r} cannot stand in grid-ca-ssl.conf",
            hint="choose a directory of letters, digits and / + , . : @ _ -",
        )
    user_base = (*setup.base, None)
    return {
        "signing-policy": make_signing_policy(
            setup.oneline, [names.oneline(names.name_from_rdns(names.rdns(setup.subject_der)[:-1])) + "/*"]
        ),
        "grid-security.conf": _grid_security_conf(setup),
        "globus-user-ssl.conf": _request_conf(setup, "user", user_base),
        "globus-host-ssl.conf": _request_conf(setup, "host", setup.base),
        "grid-ca-ssl.conf": _ca_conf(setup, directory),
    }


def _grid_security_conf(setup: CASetup) -> bytes:
    """Return what grid-cert-request takes into its shell."""
    user_base = f"ou={setup.common_name}, {setup.base_rfc4514}"
    values = {
        "GSI_HOST_BASE_DN": setup.base_rfc4514,
        "GSI_USER_BASE_DN": user_base,
        "GSI_CA_NAME": setup.common_name,
        "GSI_CA_EMAIL_ADDR": setup.email,
    }
    lines = ["# Settings of the CA for grid-cert-request; read by a shell.", ""]
    lines += [f"SETUP_{name}='{value}'" for name, value in values.items()]
    lines += [f'{name}="${{SETUP_{name}}}"' for name in values]
    lines += [f"export {name}" for name in values]
    return ("\n".join(lines) + "\n").encode()


def _request_conf(setup: CASetup, kind: str, base: Sequence[Attribute | None]) -> bytes:
    """Return OpenSSL's settings for requests; None in the base stands for one more OU, the CA's common name."""
    extension = "keyUsage = critical, digitalSignature, keyEncipherment"
    return f"""\
# Settings for certificate requests of a {kind} to {setup.oneline}

[ req ]
default_bits            = 2048
default_md              = {setup.digest}
default_keyfile         = privkey.pem
distinguished_name      = req_distinguished_name
req_extensions          = v3_req

[ req_distinguished_name ]
# BEGIN CONFIG
{_distinguished_name(setup, base)}
# END CONFIG

[ v3_req ]
basicConstraints = critical, CA:FALSE
{extension}
""".encode()


def _distinguished_name(setup: CASetup, base: Sequence[Attribute | None]) -> str:
    counts: dict[str, int] = {}
    lines: list[str] = []
    for attribute in base:
        oid = oids.ORGANIZATIONAL_UNIT if attribute is None else attribute.oid
        value = setup.common_name if attribute is None else attribute.text()
        field, prompt = _FIELDS[oid]
        if oid in _NUMBERED:
            number = counts.get(oid, 0)
            counts[oid] = number + 1
            field, prompt = f"{number}.{field}", f"{prompt}, level {number}"
        lines += [f"{field:<40}= {prompt}", f"{field + '_default':<40}= {value}"]
    lines += [f"{'commonName':<40}= Name (such as John M. Smith)", f"{'commonName_max':<40}= 64"]
    return "\n".join(lines)


def _ca_conf(setup: CASetup, directory: str) -> bytes:
    """Return the settings with which `openssl ca`, and so the C grid-ca-sign, works in the CA's directory."""
    # The signing policy decides which names are signed; openssl's "match" compares string types, too.
    policy = "\n".join(f"{field:<24}= optional" for field, _ in _FIELDS.values())
    return f"""\
# Settings of {setup.oneline} for openssl ca

[ ca ]
default_ca              = CA_default

[ CA_default ]
dir                     = {directory}
certs                   = $dir/certs
crl_dir                 = $dir/crl
database                = $dir/index.txt
new_certs_dir           = $dir/newcerts
certificate             = $dir/cacert.pem
serial                  = $dir/serial
crlnumber               = $dir/crlnumber
crl                     = $dir/crl/crl.pem
private_key             = $dir/private/cakey.pem
x509_extensions         = x509v3_extensions
crl_extensions          = crl_extensions
default_days            = {setup.days}
default_crl_days        = 30
default_md              = {setup.digest}
preserve                = yes
unique_subject          = yes
copy_extensions         = none
policy                  = policy_match

[ policy_match ]
{policy}
commonName              = supplied
emailAddress            = optional

[ x509v3_extensions ]
basicConstraints        = critical, CA:FALSE
keyUsage                = critical, digitalSignature, keyEncipherment
extendedKeyUsage        = clientAuth, serverAuth
subjectKeyIdentifier    = hash
authorityKeyIdentifier  = keyid

[ crl_extensions ]
authorityKeyIdentifier  = keyid

[ req ]
default_bits            = 4096
default_md              = {setup.digest}
distinguished_name      = req_distinguished_name

[ req_distinguished_name ]
# BEGIN CONFIG
{_distinguished_name(setup, setup.base)}
# END CONFIG
""".encode()
