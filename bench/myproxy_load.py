"""Load on a MyProxy server, the same whichever it is: `python -m bench.myproxy_load PORT SECONDS PEM PASSPHRASE`.

Logs on again and again for SECONDS, each time on a new connection, with the credential in the file PEM (`-` for none)
and the pass phrase (`-` for none); prints the seconds of each logon. The key of the certificate request is always the
same, so that the load itself costs little: a connection, a handshake, four messages.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time

from gsi.delegation import DelegationRequester
from gsi.keys import KeyType, generate_key

__all__ = ["Load"]

TIMEOUT = 60


class Load:
    """One client."""

    def __init__(self, port: int, bundle: str | None, passphrase: str) -> None:
        self._port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        if bundle is not None:
            self._context.load_cert_chain(bundle)
        self._request = (
            f"VERSION=MYPROXYv2\nCOMMAND=0\nUSERNAME=alice\nPASSPHRASE={passphrase}\nLIFETIME=3600\n\0"
        ).encode()
        self._csr = DelegationRequester(generate_key(KeyType.RSA)).request_der

    def connect(self) -> ssl.SSLSocket:
        """Connect and shake hands."""
        plain = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(plain)

    def logon(self) -> float:
        """Log on; return how many seconds it took."""
        begun = time.perf_counter()
        with self.connect() as tls:
            tls.sendall(b"0")
            tls.sendall(self._request)
            received = b""
            while b"RESPONSE=" not in received or not received.endswith(b"\0"):
                received += self._more(tls, received)
            if b"RESPONSE=0" not in received:
                raise RuntimeError(f"refused: {received!r}")
            tls.sendall(self._csr)
            received = b""
            while b"RESPONSE=0\n" not in received:
                received += self._more(tls, received)
        return time.perf_counter() - begun

    @staticmethod
    def _more(tls: ssl.SSLSocket, before: bytes) -> bytes:
        data = tls.recv(65536)
        if not data:
            raise RuntimeError(f"closed after {before!r}")
        return data


def main() -> None:
    """Log on until the time is up."""
    port, seconds, bundle, passphrase = sys.argv[1:]
    load = Load(int(port), None if bundle == "-" else bundle, "" if passphrase == "-" else passphrase)
    load.logon()
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        print(load.logon())


if __name__ == "__main__":
    main()
