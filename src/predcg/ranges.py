"""Ranges of the numbers that constructors take, written as their annotations: they are checked when a configuration is
composed.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
UnitInterval = Annotated[float, Ge(0), Le(1)]  # It is [0, 1], as for a share.
Share = Annotated[float, Gt(0), Le(1)]  # It is (0, 1], as for a part that is not nothing.
OpenUnitInterval = Annotated[float, Gt(0), Lt(1)]  # It is (0, 1), as for a probability that is no certainty.
# In rad, of a wrapped normal: that of a threefold angle is 3 rad at most, up to which the density is exact.
Width = Annotated[float, Gt(0), Le(1)]
Seed = Annotated[int, Ge(0), Le(2**31 - 1)]  # Torch, numpy and OpenMM take it alike.
Parallel = Annotated[int, Ge(1), Le(1024)]  # Threads or processes.
# Inverse temperature in units of the system's own, from nearly flat to the target.
Beta = Annotated[float, Gt(0), Le(1)]
GrowthFactor = Annotated[float, Gt(1)]
