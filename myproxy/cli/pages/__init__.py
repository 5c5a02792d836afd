"""The prose of the MyProxy commands' man pages; read by `gsi.cli.manual` alone, never by a running command."""

from __future__ import annotations

from typing import Final

__all__ = ["CLIENT_ENVIRONMENT", "CLIENT_EXIT_STATUS", "CLIENT_FILES"]

CLIENT_EXIT_STATUS: Final = (("0", "Done."), ("1", "Anything else; the error says what, why and what to do."))

CLIENT_ENVIRONMENT: Final = (
    ("MYPROXY_SERVER", "The server, `host` or `host:port`, or several of them with commas between, tried in turn."),
    ("MYPROXY_SERVER_PORT", "The port where the server's name has none; 7512 otherwise."),
    ("MYPROXY_SERVER_DN", "The server's exact subject. When it is set, the host name is not compared."),
    (
        "GLOBUS_GSSAPI_NAME_COMPATIBILITY",
        "How the host name is compared: `STRICT_RFC2818` (the default), `HYBRID` or `STRICT_GT2`.",
    ),
    ("MYPROXY_SOCKET_TIMEOUT", "Seconds to wait for a connection to each address, 10 when not set."),
    ("MYPROXY_TCP_PORT_RANGE", "`min,max` of the local ports to use."),
    ("MYPROXY_KEYBITS", "Size of new RSA keys, 2048 when not set."),
    ("LOGNAME", "The account name when none is given."),
    ("X509_USER_PROXY, X509_USER_CERT, X509_USER_KEY", "Who you are, towards the server."),
    ("X509_CERT_DIR", "The trust directory by which the server is judged."),
)

CLIENT_FILES: Final = (
    ("/tmp/x509up_u<uid>", "The proxy file, unless X509_USER_PROXY names another."),  # noqa: S108  the C tools' place
    ("~/.globus/usercert.pem, ~/.globus/userkey.pem", "Your long-lived certificate and key."),
)
