"""RSL, the language in which GRAM's jobs are described, and the authorizer that judges jobs by it.

values.py      the syntax tree
grammar.py     text to tree and back, as the C library
evaluate.py    variables and canonical names
job.py         one job, as the job manager reads its description
conditions.py  what a rule asks of one attribute of a job
rulefile.py    the grammar of the file of job rules
rules.py       the authorizer (`type = "rsl"`)
"""
