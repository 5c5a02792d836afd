"""The prose of gsi-authz(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from gsi.cli.pages.common import TRUST_DIRECTORIES, USER_PROXY, X509_CERT_DIR

__all__ = ["PAGE"]

PAGE: Final = ManualPage(
    date="2026-11-21",
    description="""\
`gsi-authz` is for the administrator of a site whose services ask one decision engine: GridFTP and GRAM through the
callout library, Python and web services directly.

`explain` with the id that a client was shown, or that stands in a log, tells what each authorizer of the policy said to
that request. The policy must keep a file of recent decisions (`record`). Without an id it tells what would be decided:
for a subject that is only named (`-subject`, `-fqan`, `-group`: believed), or for a chain that is verified first
(`-chain`, `-proxy`). What the policy's attribute sources find is shown: VOMS attributes that the chain carries, and
what comes of tokens and assertions that the subject shows (`-token`, `-assertion`), which the policy verifies as the
service would. Nothing is leased, recorded or audited by that. Rules that ask for an issuer hold for verified chains
only. For a job, `-rsl` is its description, and `-account` the account that it is to run as, whose home directory stands
for `$(HOME)` in it. An action without a service type is taken as one of files, jobs (`start`, `status`, `cancel`,
`signal`, `renew`, `register`, `unregister`) or as `login`.

`explain last` explains the newest decision of the record.

`check` reads policy files (names that end in `.toml`), the `gsi-authz.conf` of C services, and what configures those
services: GridFTP's `gridftp*.conf` and files of `gridftp.d`, the job manager's `*job-manager.conf`, and the lines of
`grid-services`. It says what is wrong, on which line, and what to do. Without names it reads every policy of the
directory, the `gsi-authz.conf` that C services would read here, and the configurations of services in `/etc`. It says
so if there is no `gsi-authz.conf`: a *hole*, if `-callouts` names a service or one is configured here. `-callouts none`
is for a machine without C services. A *hole* allows something that the site believes to be decided: C services allow
whatever has no callout. What is *broken* refuses everybody or stops a service. A *note* works, but hardly as meant.
Libraries are loaded in a process of its own. What services are told on their command lines cannot be seen.

`who-can` lists everybody that the policy names (in rules, in grid-mapfiles, in VOMS maps) and who may do the action,
with the entry that lets them. Patterns, groups and FQANs are tried one by one, so it cannot see that somebody who is
let in by one attribute is kept out by another. Types that name nobody (`ldap`, `cedar`, `xacml`, `token-scopes`) are
said to be missing from the list. Who may start a job depends on the job where job rules decide: `-rsl` is its
description, and `-account` whose home directory stands for `$(HOME)`.

`ask` puts a question to the running `gsi-authz-server`, as a GridFTP server would for the account that runs it:
`login`, or an operation on a file that is taken to be there, with no link on the way. The client is the present proxy,
or the chain of `-chain`; tokens and assertions are sent as GridFTP clients send them. Unlike `explain` it is a real
question, with an audit.
""",
    exit_status=(
        ("0", "It is explained, listed, or checked without a problem; `ask`: permitted."),
        ("1", "`ask`: refused; `check` found a hole or something broken (with `-strict`: or a note); or any error."),
    ),
    environment=(
        ("GSI_AUTHZ_POLICY_DIR", "The directory of policies, in place of `/etc/grid-security/gsi-authz.d`."),
        ("GSI_AUTHZ_CONF", "The configuration of callouts that C services read."),
        USER_PROXY,
        X509_CERT_DIR,
    ),
    files=(
        ("/etc/grid-security/gsi-authz.d/<service>.toml", "The policy of a service."),
        ("/etc/grid-security/gsi-authz.conf", "The configuration of callouts that C services read."),
        ("/etc/gridftp.conf, /etc/gridftp.d", "The configuration of the GridFTP server."),
        ("/etc/globus/globus-gram-job-manager.conf, /etc/grid-services", "The configuration of GRAM."),
        TRUST_DIRECTORIES,
    ),
    examples=(
        ("Why was this refused?", "gsi-authz explain 5f0c2a91d3e84b7786a1c0de -service gridftp"),
        (
            "Would Alice be allowed to write there?",
            "gsi-authz explain -service gridftp -subject '/O=Grid/CN=Alice' -action write -resource /data/f",
        ),
        (
            "Would this job of hers be started?",
            "gsi-authz explain -service gram -subject '/O=Grid/CN=Alice' -action start -account alice -rsl job.rsl",
        ),
        ("Is anything open on this GridFTP server?", "gsi-authz check -callouts gridftp"),
        ("Who may start this job?", "gsi-authz who-can start -service gram -rsl job.rsl -account alice"),
        (
            "What does this token allow her?",
            "gsi-authz explain -service gridftp -proxy -token token.jwt -action read -resource /data/f",
        ),
        ("Is the daemon there, and what does it say?", "gsi-authz ask -action read -resource /data/f"),
    ),
    see_also=("gsi-authz-server(8)", "gsi-authz-build-callout(8)", "grid-mapfile-check-consistency(8)"),
)
