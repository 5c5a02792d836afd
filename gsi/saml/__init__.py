"""SAML assertions as capabilities: those of CAS (1.0, 1.1) and of SAML 2.0, verified; issuing them is the community's.

The rooms: `document` reads XML strictly, `signature` checks the one signature there may be, `assertion` reads the
element that was signed and nothing else, `trust` knows whose signature counts, `verify` believes or refuses, `carriers`
finds assertions in proxies. Needs the extra `saml`. Workflow:

    verifier = AssertionVerifier((AssertionIssuer(subject="/O=Grid/CN=cas/cas.example.org"),), directory.anchors)
    assertion = verifier.verify(xml, peer, now=now)
    assertion.permits
"""
