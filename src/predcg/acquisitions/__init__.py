"""Acquisitions: where the next data come from."""

from predcg.acquisitions.acquisition import Acquisition, Exact, NoData
from predcg.acquisitions.load import Load
from predcg.acquisitions.simulate import Simulate

__all__ = ["Acquisition", "Exact", "Load", "NoData", "Simulate"]
