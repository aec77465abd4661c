"""Stochastic approximation: steps that become smaller, measured by the curvature, until nothing changes."""

from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from annotated_types import Gt, Le
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from predcg.errors import InputError
from predcg.ranges import PositiveFloat, PositiveInt
from predcg.training.module import Training

# It is added to every curvature, so that steps stay finite where the data leave a direction open; our choice.
DAMPING = 1e-3


class RobbinsMonro(LambdaLR):
    """Learning rate lr · α / (t + A)^ρ at step t, ½ < ρ <= 1 (Robbins and Monro 1951).

    Args:
        optimizer: whose rate it is; with lr: 1 the rate is α / (t + A)^ρ.
        alpha, offset, power: α, A, ρ.

    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> RobbinsMonro(optimizer, alpha=2.0, offset=4.0, power=1.0).get_last_lr()
    [0.5]
    """

    def __init__(
        self, optimizer: Optimizer, alpha: PositiveFloat, offset: PositiveFloat, power: Annotated[float, Gt(0.5), Le(1)]
    ):
        if not (alpha > 0 and offset > 0 and 0.5 < power <= 1):
            raise InputError(
                f"scheduler: expected alpha > 0, offset > 0, ½ < power <= 1; found {alpha}, {offset}, {power}"
            )
        super().__init__(optimizer, lambda step: alpha / (step + offset) ** power)


class Newton(pl.Callback):
    """Turns gradients into Newton steps of the complete data: (I + Λ)⁻¹ ∇L, with I a density's Fisher information and Λ
    the prior's curvature.

    For densities that know their information: see Density.information. With a learning rate of 1 and an exact E-step
    these are the steps of EM itself; they converge at a rate that does not depend on the parametrisation.

    Args:
        every: steps for which the information is kept.
    """

    def __init__(self, every: PositiveInt = 5):
        if every < 1:
            raise InputError(f"every: expected at least 1; found {every}")
        self.every, self._information = every, {}

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: Training, optimizer: Optimizer) -> None:
        prior, model = module.prior, module.model
        if not self._information or trainer.global_step % self.every == 0:
            self._information = {role: getattr(model, role).information() for role in ("latent", "decoder")}
        for role, of_density in self._information.items():
            for name, information in of_density.items():
                theta = getattr(model, role).get_parameter(name)
                own = prior.weight * prior.precision(theta.detach()).flatten().double() if theta.ndim >= 2 else 0.0
                curvature = information + torch.diag(own + information.new_full((len(information),), DAMPING))
                theta.grad.copy_(torch.linalg.solve(curvature, theta.grad.flatten().double()).view_as(theta.grad))

    def state_dict(self) -> dict[str, Any]:
        return {"information": self._information}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._information = state["information"]


class Converged(pl.Callback):
    """Ends the training when the means of all parameters over two successive windows of steps differ by less than a
    tolerance.

    Args:
        window: steps in each mean.
        tolerance: largest difference, relative to the parameter where that is larger than 1.

    Raises:
        InputError: a number out of its range.
    """

    def __init__(self, window: PositiveInt, tolerance: PositiveFloat):
        if window < 1 or not tolerance > 0:
            raise InputError(
                f"window, tolerance: expected at least 1 and a positive number; found {window}, {tolerance}"
            )
        self.window, self.tolerance = window, tolerance
        self._state = {"sum": torch.zeros(()), "last": None, "steps": 0, "converged": False}

    def on_train_start(self, trainer: pl.Trainer, module: Training) -> None:
        if self._state["converged"]:  # It had converged before it was interrupted.
            trainer.should_stop = True

    def on_train_batch_end(self, trainer: pl.Trainer, module: Training, outputs: Any, batch: Any, index: int) -> None:
        state = self._state
        state["sum"] = state["sum"] + torch.nn.utils.parameters_to_vector(module.model.parameters()).detach()
        state["steps"] += 1
        if state["steps"] % self.window:
            return
        mean, last = state["sum"] / self.window, state["last"]
        if last is not None and ((mean - last).abs() <= self.tolerance * mean.abs().clamp_min(1)).all():
            trainer.should_stop = state["converged"] = True
        state |= {"last": mean, "sum": torch.zeros(())}

    def state_dict(self) -> dict[str, Any]:
        return dict(self._state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._state |= state
