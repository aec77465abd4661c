"""Acquisitions: where the next data come from."""

from predcg.acquisitions.acquisition import Acquisition, Exact, NoData
from predcg.acquisitions.active import Active
from predcg.acquisitions.grid import Grid
from predcg.acquisitions.load import Load
from predcg.acquisitions.simulate import Simulate

__all__ = ["Acquisition", "Active", "Exact", "Grid", "Load", "NoData", "Simulate"]
