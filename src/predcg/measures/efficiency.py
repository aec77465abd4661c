"""What energy evaluations buy: importance weights during a training."""

import torch

from predcg.importance import draw
from predcg.results import Run

MARKS = (1e7, 3e7, 1e8)


@torch.no_grad()
def curve(run: Run, draws: int, samples: int = 15) -> list[tuple[int, float, float]]:
    """Energy evaluations, effective sample size, and gap of the reverse bound to log Z in nat, of every snapshot.

    Args:
        samples: further latent draws in log q, where there is a latent variable.
    """
    torch.manual_seed(run.seed)
    points = []
    for step in run.snapshots:
        snapshot = run.snapshot(step)
        weighted = draw(snapshot.model, run.system, draws, samples)
        finite = weighted.log_w[weighted.log_w.isfinite()].double()
        points.append((snapshot.evaluations, weighted.effective_sample_size, weighted.log_z[0] - finite.mean().item()))
    return points


def marks(curves: list[list[tuple[int, float, float]]]) -> dict[str, float]:
    """Means over curves: the last effective sample size, and those after so many evaluations or fewer."""
    numbers = {
        "evaluations": max(curve[-1][0] for curve in curves),
        "ess_final": sum(curve[-1][1] for curve in curves) / len(curves),
    }
    for mark in MARKS:
        reached = [[ess for evaluations, ess, _ in curve if evaluations <= 1.02 * mark] for curve in curves]
        if all(reached) and all(curve[-1][0] > 0.9 * mark for curve in curves):
            numbers[f"ess_at_{mark:.0e}".replace("e+0", "e")] = sum(ess[-1] for ess in reached) / len(reached)
    return numbers
