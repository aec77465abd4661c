"""Forward KL without data: the model's own draws, weighted towards the system, stand for them."""

import torch
from torch import Tensor

from predcg.batch import Batch
from predcg.errors import InputError, NonFiniteError
from predcg.importance import Weighted, draw
from predcg.model import Model
from predcg.objectives.kl import ForwardKL
from predcg.objectives.objective import Objective, Terms
from predcg.ranges import PositiveInt
from predcg.systems import System


class Replay(Objective):
    """Forward KL on draws of the model itself, resampled with probability ∝ p_β(x) / q(x); it needs no data, and
    ignores any.

    A buffer of x ~ q with weights from the marginal log q(x) (`importance.draw`) is filled whenever β has changed and
    every `every` steps; the last `keep` fills at the present β are used, minibatches are drawn from all of them. What
    the model has lost it cannot replay: start where it covers everything, at a small β. In evaluation mode (rehearsal,
    validation) the buffer is left as it is, and frames / every fresh draws, the mean cost of a step at constant β, take
    its place.

    Args:
        forward: what is minimised on the minibatches.
        size: number of coordinates D.
        batch_size: configurations per step.
        frames: draws per fill, each one energy evaluation.
        keep: fills in the buffer.
        every: steps between two fills at one β.
        samples: latent draws in the estimate of log q(x), beside the generating one.

    >>> Replay(ForwardKL(samples=8), size=2, batch_size=512, frames=8192, keep=4, every=250).x.shape
    torch.Size([32768, 2])
    """

    evaluates = True

    def __init__(
        self,
        forward: ForwardKL,
        size: PositiveInt,
        batch_size: PositiveInt,
        frames: PositiveInt,
        keep: PositiveInt,
        every: PositiveInt,
        samples: PositiveInt = 31,
    ):
        super().__init__()
        for name, count in {"batch_size": batch_size, "frames": frames, "keep": keep, "every": every}.items():
            if count < 1:
                raise InputError(f"{name}: expected at least 1; found {count}")
        self.divergence = forward
        self.batch_size, self.frames, self.keep, self.every, self.samples = batch_size, frames, keep, every, samples
        self.register_buffer("x", torch.zeros(keep * frames, size))
        self.register_buffer("log_w", torch.full((keep * frames,), -torch.inf))
        self.register_buffer("weighted_for", torch.zeros(()))  # It is the β of log_w.
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))  # It counts the steps at this β.

    def forward(self, model: Model, system: System, batch: Batch) -> Terms:
        x, log_w = (
            self._replayed(model, system) if self.training else self._draw(model, system, self.cost(self.batch_size))
        )
        share = log_w.softmax(0)
        terms = self.divergence(model, system, Batch.of(x[share.multinomial(self.batch_size, replacement=True)]))
        return Terms(terms.loss, terms.log | {"replay_effective_draws": 1 / (share @ share)})

    def cost(self, batch_size: int) -> int:
        return -(-self.frames // self.every)

    def _replayed(self, model: Model, system: System) -> tuple[Tensor, Tensor]:
        """The buffer, filled where it is due."""
        if self.weighted_for != self.beta:
            self.weighted_for.copy_(self.beta)
            self.log_w.fill_(-torch.inf)
            self.calls.zero_()
        fill, calls = divmod(int(self.calls), self.every)
        if calls == 0:
            rows = slice(fill % self.keep * self.frames, (fill % self.keep + 1) * self.frames)
            self.x[rows], self.log_w[rows] = self._draw(model, system, self.frames)
        self.calls += 1
        return self.x, self.log_w

    def _draw(self, model: Model, system: System, n: int) -> Weighted:
        drawn = draw(model, system, n, self.samples, self.beta)
        if not drawn.log_w.isfinite().any():
            raise NonFiniteError(
                f"none of {n} draws for the replay has a finite energy and density; temper from a smaller beta",
                drawn.x[0],
            )
        return drawn
