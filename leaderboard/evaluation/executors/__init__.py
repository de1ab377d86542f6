"""Executors: what computes shards, one file each. `workers.run_shards` chooses among them.

Each is a generator of shards with their rows, in the order in which they are done. A shard that
ends its worker is tried again a stated number of times, then named; the others go on.
"""
