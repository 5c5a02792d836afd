"""XACML 3.0 requests and responses in JSON (OASIS JSON Profile of XACML 3.0 version 1.1), both ways; opens no socket.

data = encode_request(request_attributes(request, Profile.GSI))       # what a PEP asks
decision = decision_of(parse_response(answer), "remote")              # what it makes of the answer
answer = answer_request(data, engine, now=now)                        # what a PDP does

identifiers.py   URIs, and the profiles that choose among them
document.py      JSON to values and back: strict, bounded
attributes.py    authorization requests as attributes, and attributes as authorization requests
obligations.py   obligations as attribute assignments, and results as decisions
answer.py        a policy decision point out of an engine
"""
