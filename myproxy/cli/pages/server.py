"""The prose of myproxy-server(8)."""

from __future__ import annotations

from typing import Final

from gsi.cli.pages import ManualPage
from myproxy.config import State, list_directives

__all__ = ["PAGE"]

IN_USE: Final = ", ".join(f"`{name}`" for name in list_directives(State.ACTED_UPON))

PAGE: Final = ManualPage(
    date="2026-11-21",
    description=f"""\
`myproxy-server` keeps users' credentials and delegates proxies from them to whoever proves to be entitled. It speaks
MYPROXYv2 with the C clients and with ours, over TLS 1.2 and 1.3, and reads the C server's configuration file.

It detaches once it listens; `-foreground` keeps it in the foreground and logs to standard error. SIGTERM and SIGINT
stop accepting and let running requests finish. SIGHUP reads the configuration and the host credential again; what is
broken leaves the old ones in force, and the log says so.

Credentials lie in a database in the storage directory, `myproxy.db`, or in PostgreSQL, where several servers share it
(`database postgresql://...`, without a password; `database_connections`, `database_patience` in seconds). Each key is
sealed with AES-256-GCM under a key that argon2id derives from the user's pass phrase: the server cannot open it without
the user. `server_key` names keys of the server (a file, `credential:`*name*, a `pkcs11:` URI) of which the first goes
around everything that is stored. With `keep_c_export`, as is the default, each sealed key has a copy beside it that the
C server could open. What expired more than `expired_credential_grace` hours ago is removed; by default nothing is.
Every decision is written and synced to the audit log before its answer leaves; what cannot be recorded is refused.

At its first start on a directory of the C server it takes over the credentials there; the files stay as they are. What
cannot be used is named in the log: see myproxy-admin-import(8), and myproxy-admin-export(8) for the way back. From then
on `first-start.done` lies beside them: a server whose database is gone does not start from the C server's files again.
Neither does a running one go on when `myproxy.db` is removed or replaced under it.

With a connection as standard input it serves that one and ends, as for inetd. A service manager is told when the server
is ready, reloads and stops, and that it is alive, and may pass listening sockets (sd_notify(3), sd_listen_fds(3)).
With `worker_processes` above 1, a worker that dies is replaced; one that keeps failing is tried less and less. Each
worker writes an audit file of its own: `audit.log`, `audit-2.log` and so on, beside each other or where `audit_log`
says. Lines carry `node_name`, or the host's name, and form a chain: see `--verify-audit` of myproxy-admin-query(8).
`monitor_listen` *address*:*port*, on the loopback interface, offers `/metrics` for Prometheus and `/health`. The log is
text, or with `log_format json` JSON; `syslog_ident` and `syslog_facility` are for syslog.

Proxies are made for RSA keys of at least `min_proxy_keylen` bits: 2048 unless it says otherwise, 1024 at the least.

Directives in use: {IN_USE}. A list without an entry permits nobody.

`slave_servers` and the directives of usage statistics have no effect. What the C server starts with is taken as it
takes it, with a line in the log: a number ends with its digits, an entry of a list that is no pattern matches nobody.

With `allow_voms_attribute_requests on`, GET requests that name VOs (`myproxy-logon -m`) get proxies with VOMS
attributes: the server asks the VO with the stored credential, at a place from `voms_userconf` (a vomses file or a
directory of such; the usual places without it) or from the client's vomses lines, and only where the vomsdir
(X509_VOMS_DIR) trusts the server for the VO. What is not believed is not passed on, and there is no proxy then. Without
the directive the names are passed over, as by the C server. Rules that begin with `FQAN:` are compared with the
attributes that a client's own proxy proves by the same vomsdir.

Beside the pass phrase of a sealed key, clients prove themselves by PAM (`pam`, `pam_id`), SASL (`sasl` and its
directives, `sasl2/myproxy.conf`), and, ours, an LDAP bind (`ldap`: `ldap_server`, with `ldap_start_tls` or ldaps, and
either `ldap_bind_dn` such as `uid=%u,ou=people,dc=example,dc=org` or `ldap_search_base` and `ldap_search_filter`), a
Kerberos password (`kerberos`: `kerberos_service`, `kerberos_keytab`, `kerberos_realm`), a program (`auth_program`,
`auth_program_path`: the account as argument, the pass phrase on standard input, status 0 for a yes) and one-time codes
(`otp`, `otp_key_file`; see myproxy-admin-otp(8)); a program that cannot tell ends with status 75. Each is `required`,
`sufficient` or `disabled`: all that are required have to agree, under all conditions; of those that suffice one is
enough, where nothing is required. `otp` can also be `enrolled`: required of those who have an authenticator.

Guessing is slowed down, on all servers of a repository together: after `throttle_free_tries` wrong pass phrases for an
account from one network tries from there are refused for `throttle_first_delay` seconds, doubling up to
`throttle_longest_delay`, and forgotten after `throttle_memory`. Beyond `throttle_user_rate` wrong tries a minute on an
account from everywhere, tries wait up to `throttle_user_delay` seconds, but are never refused for it. Tries that are
being judged count until they are known to be right; a directory or program that is away makes none of them wrong.
`throttle off` ends both.

Where nothing is stored for a user and `certificate_issuer_cert` and `certificate_issuer_key` or
`certificate_issuer_program` are set, GET is answered with a certificate of that authority. The key may be a file, a
token (`pkcs11:token=T;object=K?module-path=/lib.so&pin-source=file:/pin`) or a signing program (`program:/path words`).
The user's name comes from `ca_ldap_server`, `certificate_mapapp` or the grid-mapfile, in this order.
""",
    exit_status=(
        ("0", "Stopped as asked, or detached and listening."),
        ("1", "It could not start; the error says why."),
    ),
    environment=(
        ("X509_USER_CERT, X509_USER_KEY", "The server's certificate and key, in place of the host's."),
        ("X509_USER_PROXY", "A proxy to serve with."),
        ("X509_CERT_DIR", "The trust directory; changes to it are noticed without a restart."),
        ("MYPROXY_SERVER_PORT", "The port, where `-port` does not say."),
    ),
    files=(
        ("/etc/myproxy-server.config", "The configuration."),
        ("/var/lib/myproxy", "The storage directory. Only its owner may be able to write it."),
        ("/var/lib/myproxy/first-start.done", "There from the first start on; its absence permits an import."),
        ("/etc/grid-security/hostcert.pem, /etc/grid-security/hostkey.pem", "The host's certificate and key."),
    ),
    examples=(
        ("Everybody may store, and retrieve what is theirs:", 'accepted_credentials "*"\nauthorized_retrievers "*"'),
        ("On a free port, for a try:", "myproxy-server -foreground -c my.config -s ./store -p 0 -z port"),
    ),
    differences="""\
One or several processes serve all connections, instead of one process for each.

A C store directory is imported at the first start; its files are left alone.

Certificates have random serial numbers unless `certificate_serialfile` names a counter; their names are encoded as
RFC 5280 asks. A lifetime of 0 asks for all that `max_cert_lifetime` gives. OpenSSL engines are not used:
`certificate_openssl_engine_id` stops the server with a hint. There is no mode without a store: one that cannot be used
is an error.

What would quietly switch something off in the C server stops this one: `pam` and `sasl` with another word than
`required`, `sufficient` or `disabled`, a limit that is no number, another `ocsp_policy` than `aia`.

What `proxy_extfile` or `proxy_extapp` cannot give refuses the proxy; the program is shown the stored certificates
without the key. An OCSP responder that does not answer is passed over, unless `ocsp_required` is set.

To a client without a certificate everything that is wrong about an account or a pass phrase is
`invalid credential passphrase`, after the same time. PAM and SASL run in processes of their own; SASL never admits
anonymous users. A pass phrase that nobody asked for is wrong.

A web portal, whose users all seem to be where it is, can be named in `trusted_front_ends`: it says where each user is,
who is then judged as a stranger from there, and whose wrong tries are counted there.

A challenge for renewal is signed with SHA-256; SHA-1, which older C clients use, has to be allowed by
`allow_sha1_renewal`.

Independent and restricted proxies are refused as clients, since they carry nothing of their owner's rights.
""",
    see_also=(
        "myproxy-admin-otp(8)",
        "myproxy-admin-query(8)",
        "myproxy-admin-stats(8)",
        "myproxy-init(1)",
        "myproxy-logon(1)",
        "grid-sandbox(1)",
    ),
)
