"""May this subject do this? One engine for GridFTP, GRAM, web services and this project's own servers.

Not who the subject is: `gsi.trust` proves that, and `Subject.from_peer` takes it over.

    policy = load_policy(policy_path("gridftp"))
    engine = Engine(policy, service="gridftp")
    decision = engine.authorize(AuthorizationRequest(subject, Action("read", "file"), Resource(url), environment))
    require_permit(decision, understands=(Account,))

    decision.py    the values: subject, action, resource, decision, obligations, and the two interfaces
    combine.py     what several verdicts amount to, as tables
    engine.py      asks, combines, merges obligations, records
"""
