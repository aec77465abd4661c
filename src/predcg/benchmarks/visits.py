"""What molecular dynamics pay for a free energy; how long a step of it takes, and an evaluation of a training."""

import time
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from predcg.benchmarks.timing import threads_set
from predcg.densities import sample_with_log_prob
from predcg.importance import draw
from predcg.measures.bins import from_counts, kl
from predcg.progress import progress
from predcg.results import Run
from predcg.samplers import Langevin

STRIDE = 20  # steps between frames that count
GROUPS = 8  # of replicas, for standard errors
TIMESTEP_PS, FRICTION_PER_PS = 0.001, 1.0


class Visits(NamedTuple):
    """Divergences, in nat, of the truth from the histogram of dynamics and of the histogram from it, against steps of
    all replicas together.

    steps, forward, reverse: of all replicas; group_forward, (marks, groups), of each group, after as many steps of its
    own as group_steps; seconds_per_step of one replica, of one processor.
    """

    steps: list[int]
    forward: list[float]
    reverse: list[float]
    group_steps: list[int]
    group_forward: Tensor
    seconds_per_step: float

    @property
    def constant(self) -> float:
        """n · KL of the truth from the histogram, the last."""
        return self.steps[-1] * self.forward[-1]

    @property
    def constant_error(self) -> float:
        """Its standard error, from the groups."""
        return (self.group_steps[-1] * self.group_forward[-1]).std().item() / self.group_forward.shape[1] ** 0.5


def visits(run: Run, log_p: Tensor, steps: int, replicas: int) -> Visits:
    """Langevin dynamics at the target's temperature of replicas that begin in equilibrium: draws of the run's model,
    resampled by their weights, whose energies are not counted against the dynamics. Every 20 steps each replica's
    collective variables count.

    Args:
        run: whose model is exact enough to begin with.
        log_p: logarithms of the true masses of the bins.
        steps: of all replicas together.
    """
    torch.manual_seed(run.seed)
    box, bins = run.model.latent.box, round(len(log_p) ** (1 / run.model.latent.box.size))
    weighted = draw(run.model, run.system, 16 * replicas).finite()
    start = weighted.x[weighted.log_w.double().softmax(0).multinomial(replicas, replacement=True)]
    sampler = Langevin(TIMESTEP_PS, FRICTION_PER_PS, STRIDE, 0)
    noise = torch.Generator().manual_seed(run.seed)
    run.system.expect(steps)  # So long as this, compiled code pays.
    state = sampler.begin(run.system, start, None, noise)
    sampler.advance(run.system, state, STRIDE, None, noise)  # Compiling is not timed.
    groups = min(GROUPS, replicas)
    group, counts = torch.arange(replicas) % groups, torch.zeros(groups, len(log_p)).double()
    blocks = max(1, steps // (replicas * STRIDE))
    marks = sorted({max(1, blocks >> k) for k in range(9)})
    found, began = [], time.process_time()
    with threads_set(1), progress(blocks * STRIDE, f"Langevin, {replicas} replicas") as bar:
        for block in range(1, blocks + 1):
            sampler.advance(run.system, state, STRIDE, None, noise)
            cell = box.cell(run.model.cv(state["x"]).double(), [bins] * box.size)
            counts.index_put_((group, cell), counts.new_ones(replicas), accumulate=True)
            bar.update(STRIDE)
            if block in marks:
                share = counts.sum(0) / counts.sum()
                backward = torch.special.xlogy(share, share).sum() - share @ log_p
                each = [kl(log_p, from_counts(one)) for one in counts]
                found.append((kl(log_p, from_counts(share)), backward.item(), each))
    seconds = (time.process_time() - began) / (blocks * STRIDE * replicas)
    forward, reverse, of_groups = zip(*found, strict=True)
    along = [mark * STRIDE * replicas for mark in marks]
    return Visits(along, list(forward), list(reverse), [n // groups for n in along], torch.tensor(of_groups), seconds)


def seconds_per_evaluation(run: Run, steps: int, batch: int = 256) -> float:
    """Of one processor, for a step of training the run's decoder by its objective: draws at its collective variables,
    energies with their slopes, and Adam; without fits of the free energy.
    """
    path = any(getattr(part, "path", False) for part in run.objective.modules())
    model = deepcopy(run.model).requires_grad_().train()
    optimizer = torch.optim.Adam(model.decoder.parameters(), 1e-6)
    z = run.model.latent().sample((batch,))

    def step() -> None:
        x, log_q = model.decoder.pathwise(z) if path else sample_with_log_prob(model.decoder(z))
        loss = (run.system(x) + log_q).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    run.system.expect(10**9)
    with threads_set(1):
        step()  # Compiling is not timed.
        began = time.process_time()
        for _ in range(steps):
            step()
        return (time.process_time() - began) / (steps * batch)
