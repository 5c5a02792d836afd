"""May this subject do this? One engine for GridFTP, GRAM, web services and this project's own servers.

Not who the subject is: `gsi.trust` proves that, and `Subject.from_peer` takes it over.

    engine = open_engine(authz_policy_path("gridftp"), service="gridftp")
    decision = engine.authorize(AuthorizationRequest(subject, Action("read", "file"), Resource(url), environment))
    require_permit(decision, understands=(Account, PoolLease))

| values | decision (subject, action, resource, decision, obligations, the two interfaces), policy |
| deciding | combine (tables), engine (asks, merges, records), deadline (time limits), record (recent decisions) |
| names | principals (subjects: exact for permits, skeletons for denials), resources (every reading of a path) |
| authorizers | ban, rules (grammar in rulefile and lines), mapping (gridmap*, pool) |
| configuration | policyfile (TOML), registry (kinds and plug-ins), reload (a file kept in force while it changes) |
| for people | lint, calloutconf (gsi-authz.conf), whocan; the command is gsi.cli.authz |
| C services | callout/ |

`docs/reference/authorization.md` is what an administrator reads.
"""
