"""Judging a chain (end entity, two proxies, CRL and signing policy on) beside OpenSSL on the same bytes; its memory.

The peer is a C program around libcrypto, compiled when needed: for each round it parses the three certificates and
runs X509_verify_cert with CRL check and proxies allowed; CA and CRL are loaded once, as ours are. Both take turns in
short batches, and the ratio is the median of the ratios of neighbouring batches.

    python bench/validate.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import Figure, show
from gsi.errors import VerificationError
from gsi.system.trustdir import TrustDirectory
from gsi.trust.verify import VerificationCache, verify_chain
from tests.harness.ca import Issued, TestCA, write_trust_dir

PEER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

static unsigned char *load(const char *path, long *size) {
    FILE *f = fopen(path, "rb");
    if (!f) { perror(path); exit(2); }
    fseek(f, 0, SEEK_END); *size = ftell(f); rewind(f);
    unsigned char *data = malloc(*size);
    if (fread(data, 1, *size, f) != (size_t)*size) exit(2);
    fclose(f);
    return data;
}

/* argv: ca.der crl.der leaf.der issuer.der ... ; stdin: number of rounds per line; stdout: nanoseconds they took */
int main(int argc, char **argv) {
    unsigned char *data[8]; long size[8];
    int count = argc - 1;
    for (int i = 0; i < count; i++) data[i] = load(argv[i + 1], &size[i]);
    const unsigned char *at = data[0];
    X509 *ca = d2i_X509(NULL, &at, size[0]);
    at = data[1];
    X509_CRL *crl = d2i_X509_CRL(NULL, &at, size[1]);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, ca);
    X509_STORE_add_crl(store, crl);
    X509_STORE_set_flags(store, X509_V_FLAG_ALLOW_PROXY_CERTS | X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    long rounds;
    while (scanf("%ld", &rounds) == 1) {
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (long r = 0; r < rounds; r++) {
            STACK_OF(X509) *chain = sk_X509_new_null();
            X509 *leaf = NULL;
            for (int i = 2; i < count; i++) {
                at = data[i];
                X509 *one = d2i_X509(NULL, &at, size[i]);
                if (i == 2) leaf = one; else sk_X509_push(chain, one);
            }
            X509_STORE_CTX *ctx = X509_STORE_CTX_new();
            X509_STORE_CTX_init(ctx, store, leaf, chain);
            X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT);
            if (X509_verify_cert(ctx) != 1) {
                fprintf(stderr, "%s\n", X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
                return 1;
            }
            X509_STORE_CTX_free(ctx);
            sk_X509_pop_free(chain, X509_free);
            X509_free(leaf);
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        printf("%lld\n", (end.tv_sec - begin.tv_sec) * 1000000000LL + end.tv_nsec - begin.tv_nsec);
        fflush(stdout);
    }
    return 0;
}
"""
BATCH = 50  # validations per turn: some 15 ms, so that both sides see the same machine
TURNS = 41
WARM_UP = 3
LIMIT_FULL = 3.0
LIMIT_KNOWN = 1.0
MEMORY_CHAINS = 10_000
MEMORY_WARM_UP = 2_000
MEMORY_GROWTH_KB = 4096  # allowed from the warm-up to the end: what the allocator does by itself


class Peer:
    """The C program, kept running."""

    def __init__(self, directory: Path, ca: TestCA, leaf: Issued) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        source, program = directory / "peer.c", directory / "peer"
        source.write_text(PEER)
        subprocess.run(["cc", "-O2", "-o", program, source, "-lcrypto"], check=True)
        crl = x509.load_pem_x509_crl(ca.crl()).public_bytes(Encoding.DER)
        paths = []
        for number, der in enumerate([ca.der, crl, *leaf.chain_der]):
            path = directory / f"{number}.der"
            path.write_bytes(der)
            paths.append(str(path))
        self._process = subprocess.Popen(
            [program, *paths], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self, rounds: int) -> int:
        """Validate this often; return the nanoseconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{rounds}\n")
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the program."""
        self._process.communicate()


def figures(turns: int = TURNS) -> list[Figure]:
    """Measure and return the figures."""
    with tempfile.TemporaryDirectory() as directory:
        return [*_speed(Path(directory) / "speed", turns), _memory(Path(directory) / "memory")]


def _speed(directory: Path, turns: int) -> list[Figure]:
    ca = TestCA()
    leaf = ca.issue("/O=Grid/OU=Test/CN=Alice").proxy().proxy()
    anchors = TrustDirectory(str(write_trust_dir(directory / "certificates", ca, crl=True))).anchors()
    chain, now = leaf.chain_der, datetime.now(UTC)
    peer = Peer(directory, ca, leaf)
    cache = VerificationCache()

    def ours(cache: VerificationCache | None) -> int:
        begin = time.perf_counter_ns()
        for _ in range(BATCH):
            verify_chain(chain, anchors, now=now, cache=cache)
        return time.perf_counter_ns() - begin

    times = [(peer.run(BATCH), ours(None), ours(cache)) for _ in range(turns + WARM_UP)][WARM_UP:]
    peer.close()
    theirs, full, known = (statistics.median(column) / BATCH / 1000 for column in zip(*times, strict=True))
    ratio_full = statistics.median(one[1] / one[0] for one in times)
    ratio_known = statistics.median(one[2] / one[0] for one in times)
    return [
        Figure(
            "parse and validate a chain, beside OpenSSL",
            full,
            theirs,
            f"<= {LIMIT_FULL} x",
            ratio_full <= LIMIT_FULL,
            "us",
        ),
        Figure(
            "the same, issuer part verified before",
            known,
            theirs,
            f"<= {LIMIT_KNOWN} x",
            ratio_known <= LIMIT_KNOWN,
            "us",
        ),
    ]


def resident_kb() -> int:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def _memory(directory: Path) -> Figure:
    ca = TestCA(key="p256")
    trust = TrustDirectory(str(write_trust_dir(directory / "certificates", ca, crl=True)))
    cache = VerificationCache()
    at_warm_up = 0
    for number in range(MEMORY_CHAINS):
        if number == MEMORY_WARM_UP:
            at_warm_up = resident_kb()
        leaf = ca.issue(f"/O=Grid/OU=Test/CN=User {number}", key="p256").proxy(key="p256").proxy(key="p256")
        chain = leaf.chain_der
        if number % 3 == 2:  # every third one is refused, which must leave nothing behind either
            chain = (chain[0][:-1] + bytes((chain[0][-1] ^ 1,)), *chain[1:])
        try:
            verify_chain(chain, trust.anchors(), now=datetime.now(UTC) + timedelta(seconds=1), cache=cache)
        except VerificationError:
            assert number % 3 == 2
    grown = resident_kb() - at_warm_up
    return Figure(
        f"memory grown over {MEMORY_CHAINS} distinct chains",
        grown,
        None,
        f"<= {MEMORY_GROWTH_KB} kB",
        grown <= MEMORY_GROWTH_KB,
        "kB",
    )


def main() -> int:
    """Print the table; exit status 0 when every figure was reached."""
    return 0 if show(figures()) else 1


if __name__ == "__main__":
    sys.exit(main())
