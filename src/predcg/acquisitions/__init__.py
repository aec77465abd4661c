"""Acquisitions: where the next data come from."""

from predcg.acquisitions.acquisition import Acquisition, Exact, Nothing, Simulate
from predcg.acquisitions.load import Load

__all__ = ["Acquisition", "Exact", "Load", "Nothing", "Simulate"]
