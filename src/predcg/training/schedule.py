"""Learning rates that know in which round they are."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from predcg.errors import InputError
from predcg.ranges import NonNegativeInt, PositiveInt, UnitInterval


class CosineOverRounds(LambdaLR):
    """Learning rate over all steps of all rounds: it rises linearly to that of the optimiser, then falls by a cosine to
    a share of it.

    At step t of T, both counted over all rounds, and after W = warm_up T steps of rising: min((t + 1) / W, 1) before W,
    then last + (1 - last) ½ (1 + cos π (t - W) / (T - W)). (Loshchilov and Hutter 2017, equation 5, without restarts.)

    Args:
        optimizer: whose rate it is.
        steps: of a round.
        rounds: at most.
        round: the present one, from 1 on.
        warm_up: share of all steps.
        last: share of the optimiser's rate at the end.

    Raises:
        InputError: a round that is not one of them, or a share outside of [0, 1].

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> CosineOverRounds(optimizer, steps=50, rounds=2, round=2, warm_up=0.0, last=0.5).get_last_lr()  # half-way
    [0.75]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        steps: NonNegativeInt,
        rounds: PositiveInt,
        round: PositiveInt = 1,
        warm_up: UnitInterval = 0.02,
        last: UnitInterval = 0.02,
    ):
        if not 1 <= round <= rounds:
            raise InputError(f"scheduler.round: expected one of 1 to rounds = {rounds}; found {round}")
        for name, share in {"warm_up": warm_up, "last": last}.items():
            if not 0 <= share <= 1:
                raise InputError(f"scheduler.{name}: expected a number in [0, 1]; found {share}")
        total, before = rounds * steps, (round - 1) * steps
        rising = warm_up * total

        def rate(step: int) -> float:
            if (t := before + step) < rising:
                return min((t + 1) / rising, 1.0)
            return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * min((t - rising) / max(total - rising, 1), 1.0)))

        super().__init__(optimizer, rate)
