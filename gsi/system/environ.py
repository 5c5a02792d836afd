"""The environment and the default places of grid files; the only reader of os.environ, and a reader of no file.

    locations = read_locations()
    load_proxy(locations.proxy)
    certificate_path, key_path = locations.find_user_credential()

The search order is that of gct:gsi/sysconfig/source/library/globus_gsi_system_config.c, with two deviations: the home
directory is HOME before the password database is asked, and a variable set to nothing counts as not set.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from gsi.errors import CredentialError, CredentialProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "GRID_SECURITY_DIR",
    "VARIABLES",
    "Locations",
    "all_variables",
    "authz_policy_dir",
    "authz_policy_path",
    "drop_variable",
    "get_variable",
    "ignores_credential_permissions",
    "read_locations",
    "set_variable",
]

GRID_SECURITY_DIR: Final = "/etc/grid-security"
_TRUST_DIR: Final = f"{GRID_SECURITY_DIR}/certificates"
_TEMPORARY_DIR: Final = "/tmp"  # noqa: S108  # where every grid program looks; files.py guards what is written there

VARIABLES: Final[dict[str, str]] = {
    "X509_USER_PROXY": "file of the proxy credential",
    "X509_USER_CERT": "file of the user, host or service certificate",
    "X509_USER_KEY": "file of its private key",
    "X509_CERT_DIR": "directory of trusted CAs, CRLs and signing policies",
    "X509_VHOST_CRED_DIR": "directory of host credentials chosen by the name that a client asks for",
    "X509_VOMS_DIR": "directory of trusted VOMS servers",
    "X509_VOMSES": "file or directory of VOMS contact lines",
    "GRIDMAP": "the grid-mapfile",
    "GRIDMAPDIR": "directory of pool account leases",
    "GRID_SECURITY_DIR": "what replaces /etc/grid-security for the scripts",
    "GLOBUS_LOCATION": "root of an installation beside the system's",
    "GLOBUS_GSSAPI_NAME_COMPATIBILITY": "how a server's name is matched: STRICT_GT2, HYBRID, STRICT_RFC2818",
    "GLOBUS_GSSAPI_MIN_TLS_PROTOCOL": "lowest TLS version",
    "GLOBUS_GSSAPI_MAX_TLS_PROTOCOL": "highest TLS version",
    "GLOBUS_GSSAPI_CIPHERS": "cipher list",
    "GLOBUS_GSSAPI_SERVER_CIPHER_ORDER": "whether the server's order of ciphers counts",
    "GLOBUS_GSSAPI_VHOST_CRED_OWNER": "user who must own the virtual hosts' credentials",
    "GLOBUS_IGNORE_CRED_PERMS": "set to anything: owner and mode of credential files are not checked",
    "GSI_AUTHZ_CONF": "configuration of authorization callouts",
    "GSI_AUTHZ_POLICY_DIR": "directory of authorization policies, one file per service",
    "GLOBUS_GSI_SYSCONFIG_DEBUG_LEVEL": "C library debugging; known, not used",
    "GLOBUS_GSI_SYSCONFIG_DEBUG_FILE": "C library debugging; known, not used",
    "GLOBUS_GSI_CERT_UTILS_DEBUG_LEVEL": "C library debugging; known, not used",
    "GLOBUS_GSI_CERT_UTILS_DEBUG_FILE": "C library debugging; known, not used",
    "GLOBUS_GSI_CREDENTIAL_DEBUG_LEVEL": "C library debugging; known, not used",
    "GLOBUS_GSI_CREDENTIAL_DEBUG_FILE": "C library debugging; known, not used",
    "GLOBUS_GSI_CALLBACK_DEBUG_LEVEL": "C library debugging; known, not used",
    "GLOBUS_GSI_CALLBACK_DEBUG_FILE": "C library debugging; known, not used",
    "GLOBUS_GSI_PROXY_DEBUG_LEVEL": "C library debugging; known, not used",
    "GLOBUS_GSI_PROXY_DEBUG_FILE": "C library debugging; known, not used",
    "GLOBUS_GSI_GSSAPI_DEBUG_LEVEL": "C library debugging; known, not used",
    "GLOBUS_GSI_GSSAPI_DEBUG_FILE": "C library debugging; known, not used",
    "GLOBUS_GSI_GSS_ASSIST_DEBUG_LEVEL": "C library debugging; known, not used",
    "GLOBUS_GSI_GSS_ASSIST_DEBUG_FILE": "C library debugging; known, not used",
    "GLOBUS_GSI_AUTHZ_DEBUG_LEVEL": "C library debugging; known, not used",
    "GLOBUS_GSI_AUTHZ_DEBUG_FILE": "C library debugging; known, not used",
}
"""Every variable of grid programs with what it is for; `read_locations` takes those that name places."""

_GRIDMAP_NAMES: Final = ("GRIDMAP", "GLOBUSMAP", "globusmap", "GlobusMap")  # in the C order; all but the first are old


class Locations(NamedTuple):
    """Where the grid files of one process are: names only; the methods ask which of them exist."""

    uid: int
    """The effective user id the defaults were made for."""
    home: str | None
    """Home directory, or None when there is none."""
    proxy: str
    """The proxy file, read and written: X509_USER_PROXY or /tmp/x509up_u<uid>."""
    user_credentials: tuple[tuple[str, str], ...]
    """Places of the user's (certificate, key), first the preferred; a PKCS#12 file stands for both."""
    host_credentials: tuple[tuple[str, str], ...]
    """Places of the host's (certificate, key), first the preferred."""
    trust_dirs: tuple[str, ...]
    """Places of the trust directory, first the preferred; X509_CERT_DIR is the only one when it is set."""
    gridmaps: tuple[str, ...]
    """Places of the grid-mapfile, first the preferred; GRIDMAP is the only one when it is set."""
    gridmap_dir: str | None
    """Directory of pool account leases, or None."""
    vhost_credentials_dir: str | None
    """Directory of host credentials by name (X509_VHOST_CRED_DIR), or None."""
    authz_conf: str
    """Configuration of authorization callouts."""
    gsi_conf: str
    """Host-wide settings of the C libraries."""

    @property
    def trust_dir(self) -> str:
        """The first trust directory that exists, else the one of X509_CERT_DIR or the system's, for the error text."""
        default = self.trust_dirs[0] if len(self.trust_dirs) == 1 else _TRUST_DIR
        return next((path for path in self.trust_dirs if os.path.isdir(path)), default)

    @property
    def gridmap(self) -> str:
        """The first grid-mapfile that exists, else the preferred place."""
        return next((path for path in self.gridmaps if os.path.exists(path)), self.gridmaps[0])

    def find_user_credential(self) -> tuple[str, str]:
        """Return (certificate, key) of the user: the first place where both exist.

        Raises:
            CredentialError: MISSING (no certificate) or KEY_MISSING, naming the places.
        """
        return _find_pair("user", self.user_credentials, "X509_USER_CERT and X509_USER_KEY")

    def find_host_credential(self) -> tuple[str, str]:
        """Return (certificate, key) of the host: the first place where both exist.

        Raises:
            CredentialError: MISSING (no certificate) or KEY_MISSING, naming the places.
        """
        return _find_pair("host", self.host_credentials, "X509_USER_CERT and X509_USER_KEY")


def _find_pair(whose: str, pairs: tuple[tuple[str, str], ...], variables: str) -> tuple[str, str]:
    for certificate, key in pairs:
        if os.path.exists(certificate) and os.path.exists(key):
            return certificate, key
    for certificate, key in pairs:
        if os.path.exists(certificate):
            raise CredentialError(
                f"{key}: no such file: the key of the {whose} certificate {certificate} is missing",
                problem=CredentialProblem.KEY_MISSING,
                path=key,
                hint=f"put the key there, or name both files with {variables}",
            )
    places = ", ".join(certificate for certificate, _ in pairs) or "any place, as there is no home directory"
    raise CredentialError(
        f"no {whose} certificate in {places}",
        problem=CredentialProblem.MISSING,
        path=pairs[0][0] if pairs else None,
        hint=f"put it there, or set {variables}",
    )


def get_variable(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return a variable of the environment, or None when it is not set or empty."""
    return (os.environ if environ is None else environ).get(name) or None


def drop_variable(name: str) -> str | None:
    """Take a variable out of the environment and return its value; None where it is not set or set to nothing."""
    return os.environ.pop(name, None) or None


def set_variable(name: str, value: str) -> None:
    """Put a variable into the environment of this process and of what it starts, for libraries that read it there."""
    os.environ[name] = value


def all_variables() -> dict[str, str]:
    """Return a copy of the whole environment, for a program that is to be run in it."""
    return dict(os.environ)


def ignores_credential_permissions() -> bool:
    """Tell whether owner and mode of credential files are not to be checked (GLOBUS_IGNORE_CRED_PERMS)."""
    return get_variable("GLOBUS_IGNORE_CRED_PERMS") is not None


def read_locations(environ: Mapping[str, str] | None = None, uid: int | None = None) -> Locations:
    """Return the places that the environment and the user id stand for.

    Args:
        environ: The variables; None is the environment of the process.
        uid: The user; None is the effective user of the process.
    """
    uid = os.geteuid() if uid is None else uid
    home = get_variable("HOME", environ) or _passwd_home(uid)
    globus = home and os.path.join(home, ".globus")
    location = get_variable("GLOBUS_LOCATION", environ)
    certificate = get_variable("X509_USER_CERT", environ)
    key = get_variable("X509_USER_KEY", environ)
    trust_dir = get_variable("X509_CERT_DIR", environ)
    gridmap = next((value for name in _GRIDMAP_NAMES if (value := get_variable(name, environ))), None)
    return Locations(
        uid=uid,
        home=home,
        proxy=get_variable("X509_USER_PROXY", environ) or f"{_TEMPORARY_DIR}/x509up_u{uid}",
        user_credentials=_user_pairs(certificate, key, globus),
        host_credentials=_host_pairs(certificate, key, globus, location),
        trust_dirs=(trust_dir,)
        if trust_dir
        else (
            *((f"{globus}/certificates",) if globus else ()),
            _TRUST_DIR,
            *((f"{location}/share/certificates",) if location else ()),
        ),
        gridmaps=(gridmap,) if gridmap else _gridmaps(uid, home),
        gridmap_dir=get_variable("GRIDMAPDIR", environ),
        vhost_credentials_dir=get_variable("X509_VHOST_CRED_DIR", environ),
        authz_conf=get_variable("GSI_AUTHZ_CONF", environ) or f"{GRID_SECURITY_DIR}/gsi-authz.conf",
        gsi_conf=f"{GRID_SECURITY_DIR}/gsi.conf",
    )


def authz_policy_dir(environ: Mapping[str, str] | None = None) -> str:
    """Return the directory of authorization policies: GSI_AUTHZ_POLICY_DIR, or the system's."""
    return get_variable("GSI_AUTHZ_POLICY_DIR", environ) or f"{GRID_SECURITY_DIR}/gsi-authz.d"


def authz_policy_path(service: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the policy file of a service; a path stands for itself."""
    return service if "/" in service else os.path.join(authz_policy_dir(environ), f"{service}.toml")


def _user_pairs(certificate: str | None, key: str | None, globus: str | None) -> tuple[tuple[str, str], ...]:
    if certificate and key:
        return ((certificate, key),)
    if certificate and ".p12" in certificate:
        return ((certificate, certificate),)
    if globus is None:
        return ()
    pair = (certificate or f"{globus}/usercert.pem", key or f"{globus}/userkey.pem")
    if certificate or key:
        return (pair,)
    return (pair, (f"{globus}/usercred.p12", f"{globus}/usercred.p12"))


def _host_pairs(
    certificate: str | None, key: str | None, globus: str | None, location: str | None
) -> tuple[tuple[str, str], ...]:
    if certificate and key:
        return ((certificate, key),)
    places = [GRID_SECURITY_DIR, *([f"{location}/etc"] if location else []), *([globus] if globus else [])]
    return tuple((f"{place}/hostcert.pem", f"{place}/hostkey.pem") for place in places)


def _gridmaps(uid: int, home: str | None) -> tuple[str, ...]:
    system = f"{GRID_SECURITY_DIR}/grid-mapfile"
    return (system,) if uid == 0 or not home else (system, f"{home}/.gridmap")


def _passwd_home(uid: int) -> str | None:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir or None
    except KeyError:
        return None
