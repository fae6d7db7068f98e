"""Params for a data set, a machine and a time: what the set is like, rules fixed beforehand, a short trial."""
