"""The callout for unmodified C services: GridFTP server, gatekeeper and GRAM job manager ask the decision engine.

    native/gsi_authz_callout.c   the library that the services load: facts out, verdict in; built by `build.py`
    questions.py                 what is asked and answered, as values
    messages.py                  frames <-> values
    session.py                   legal order on one connection, sans-IO
    fileops.py                   which questions one file operation amounts to; what a session must remember
    gram.py                      the body of a GRAM request, and the gate's refusal
    config.py                    the daemon's configuration file
    judge.py                     value in, verdict out: verification, engine, accounts
    daemon.py                    the Unix socket shell, `gsi-authz-server`
    gate.py                      the program in the gatekeeper's service line, `gsi-authz-gram-gate`
    build.py                     compiling and installing the library, `gsi-authz-build-callout`

Not here: the policy itself (`gsi.authz.engine`).
"""
