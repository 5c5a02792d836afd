"""A process with the C library of GSI in it; one JSON question a line in, one word out. Started by peers.gsi.

Each question is answered in a fork, since bad input crashes the library now and then. The function called is
`globus_gsi_cred_verify_cert_chain_when`; its CRL check looks at the clock all the same.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

_SECONDS = 20  # for one question, which takes some milliseconds


class _Library:
    """The functions in use."""

    def __init__(self) -> None:
        self._common = ctypes.CDLL("libglobus_common.so.0", mode=ctypes.RTLD_GLOBAL)
        self._callback = ctypes.CDLL("libglobus_gsi_callback.so.0", mode=ctypes.RTLD_GLOBAL)
        self._credential = ctypes.CDLL("libglobus_gsi_credential.so.1", mode=ctypes.RTLD_GLOBAL)
        proxy = ctypes.CDLL("libglobus_gsi_proxy_core.so.0", mode=ctypes.RTLD_GLOBAL)
        self._crypto = ctypes.CDLL("libcrypto.so.3")
        self._crypto.BIO_new_mem_buf.restype = ctypes.c_void_p
        self._crypto.BIO_new_mem_buf.argtypes = (ctypes.c_char_p, ctypes.c_int)
        for module in (
            (self._callback, "globus_i_gsi_callback_module"),
            (self._credential, "globus_i_gsi_credential_module"),
            (proxy, "globus_i_gsi_proxy_module"),  # makes the draft's extension known, as every program does
        ):
            descriptor = ctypes.c_char.in_dll(*module)
            if self._common.globus_module_activate(ctypes.byref(descriptor)) != 0:
                raise OSError("a Globus module cannot be activated")

    def accepts(self, chain: bytes, trust_directory: str, time: int) -> bool:
        """Tell whether the library takes a PEM chain, leaf first."""
        handle = ctypes.c_void_p()
        self._must(self._credential.globus_gsi_cred_handle_init(ctypes.byref(handle), None))
        bio = self._crypto.BIO_new_mem_buf(chain, len(chain))
        if self._credential.globus_gsi_cred_read_cert_bio(handle, ctypes.c_void_p(bio)) != 0:
            return False
        data = ctypes.c_void_p()
        self._must(self._callback.globus_gsi_callback_data_init(ctypes.byref(data)))
        self._must(self._callback.globus_gsi_callback_set_cert_dir(data, trust_directory.encode()))
        verified = self._credential.globus_gsi_cred_verify_cert_chain_when(handle, data, ctypes.c_long(time))
        return bool(verified == 0)

    @staticmethod
    def _must(result: int) -> None:
        if result != 0:
            raise OSError("the library cannot be set up")


def _answer(library: _Library, line: str) -> str:
    question = json.loads(line)
    child = os.fork()
    if child == 0:
        code = 2
        try:
            signal.alarm(_SECONDS)
            os.environ["X509_CERT_DIR"] = question["trust_directory"]
            with open(question["chain"], "rb") as file:
                chain = file.read()
            code = 0 if library.accepts(chain, question["trust_directory"], question["time"]) else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "crash"
    return {0: "accept", 1: "refuse"}.get(os.WEXITSTATUS(status), "crash")


def main() -> None:
    """Answer until the input ends."""
    library = _Library()
    for line in sys.stdin:
        print(_answer(library, line), flush=True)


if __name__ == "__main__":
    main()
