"""VOMS: attribute certificates read, judged and fetched; issuing them is the community's service.

The rooms: `attribute_cert` and `ac_extensions` know the bytes, `lsc` and `vomses` the grammars of the two files that
sites write, `verify` believes or refuses, `exchange` is the conversation in which a user fetches one.
"""
