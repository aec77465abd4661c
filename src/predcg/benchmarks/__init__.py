"""Benchmarks: how fast things are on this machine, every form beside its peers in one process."""
