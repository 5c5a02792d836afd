"""Signed tokens (JWT) of the WLCG and SciTokens profiles and of RFC 9068, verified; issuing them is the community's.

The rooms: `compact` takes a token apart, `scopes` knows what scopes mean, `rules` what a site accepts, `keys` and
`keycache` whose keys count, `verify` believes or refuses. Needs the extra `tokens`. Workflow:

    rules = TokenRules((IssuerRules("https://vo.example.org/"),), audiences=frozenset({"https://se.example.org"}))
    verifier = TokenVerifier(rules, KeyCache(rules, fetcher))
    token = verifier.verify(text, now=now, peer=peer)
    token.capabilities, token.groups
"""
