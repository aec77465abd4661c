"""Masses of bins of collective variables, of a learnt free energy, of the truth, of draws; how far they are apart."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from predcg.densities import FreeEnergy
from predcg.densities.box import Box
from predcg.errors import InputError
from predcg.importance import Weighted, draw
from predcg.measures.runs import experiment, grouped, variant
from predcg.observables import Dihedrals
from predcg.results import Run
from predcg.systems import Molecule, MuellerBrown

BINS = 100  # along each coordinate, as in the source (Schopmans, Friederich 2024)
INSIDE = {1: 1, 2: 3}  # The mass of a bin is that of so many points along each of one or of two coordinates.
EMPTY = 1e-8  # the mass of a bin that no draw is in
REGIONS = {"low": (0.0, 5.0), "high": (5.0, 10.0)}  # kT above the lowest: errors of F are told apart by them
TRUTH = "_truth"  # Runs of an experiment whose name ends so are what the others of a claim are judged by.


@torch.no_grad()
def log_masses(latent: FreeEnergy, bins: int = BINS) -> Tensor:
    """log of the masses of the bins under e^-F, (bins^d,), float64, the last coordinate running fastest."""
    d = latent.box.size
    z, _ = latent.box.cells([bins * INSIDE[d]] * d)
    fine = -latent.potential(z).view([bins, INSIDE[d]] * d)
    return fine.logsumexp(tuple(range(1, 2 * d, 2))).flatten().log_softmax(0)


def judged(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """Runs, and those of a much larger budget that they are judged by, which may be none."""
    apart = grouped(runs, lambda run: experiment(run).split()[0].endswith(TRUTH))
    truths = apart.get(True, [])
    return apart.get(False, truths), truths


def log_truth(run: Run, truths: Sequence[Run], bins: int = BINS) -> Tensor:
    """log of the true masses of the bins, (bins^d,): of Müller-Brown by quadrature at their centres, else of the mean F
    of the runs that are taken for the truth, each as often as it has evaluated energies, to which its variance is
    inversely proportional. Raises InputError where there are none.
    """
    if isinstance(run.system, MuellerBrown):
        z, _ = run.model.latent.box.cells([bins])
        return (-run.system.pmf(z.squeeze(-1))).log_softmax(0)
    if not truths:
        raise InputError(
            "figure: expected among its runs some of an experiment whose name ends in _truth, by which the others are"
            " judged; found none; mend the runs of the claim"
        )
    weights = torch.tensor([float(one.system.evaluations) for one in truths], dtype=torch.float64)
    means = torch.stack([log_masses(one.model.latent, bins) for one in truths])
    return (weights / weights.sum() @ means).log_softmax(0)


def kl(log_p: Tensor, log_q: Tensor) -> float:
    """Σ p log p/q in nat, of logarithms of masses.

    >>> round(kl(torch.tensor([0.5, 0.5]).log(), torch.tensor([0.25, 0.75]).log()), 4)  # ½ log 2 + ½ log 2/3
    0.1438
    """
    return torch.where(log_p > -torch.inf, log_p.exp() * (log_p - log_q), 0.0).sum().item()


def variation(log_p: Tensor, log_q: Tensor) -> float:
    """The total variation distance, ½ Σ |p - q|."""
    return 0.5 * (log_p.exp() - log_q.exp()).abs().sum().item()


def from_counts(counts: Tensor) -> Tensor:
    """log of the masses of bins that so much was counted in, 1e-8 where nothing was."""
    return (counts / counts.sum()).clamp_min(EMPTY).log()


def coordinates(run: Run) -> list[str]:
    """Names of the collective variables: φ and ψ of the system, other torsions by their atoms."""
    torsions = getattr(run.model.encoder, "observable", None)
    if not isinstance(run.system, Molecule) or not isinstance(torsions, Dihedrals):
        return [f"z{k}" for k in range(1, run.model.latent.box.size + 1)]
    known = dict(zip(map(tuple, run.system.phi_psi or []), run.system.torsions, strict=False))
    names = [atom.name for atom in run.system.topology.atoms]
    return [known.get(tuple(four), "-".join(names[i] for i in four)) for four in torsions.indices.tolist()]


def positive(run: Run, bins: int = BINS) -> Tensor | None:
    """The bins where φ > 0, (bins^d,); None where φ is no collective variable."""
    named = coordinates(run)
    if not isinstance(run.system, Molecule) or run.system.torsions[0] not in named:
        return None
    box: Box = run.model.latent.box
    return box.cells([bins] * box.size)[0][:, named.index(run.system.torsions[0])] > 0


def found(run: Run, bins: int = BINS) -> dict[str, float]:
    """What is known of a learnt F without a truth: predicted_kl, its forward divergence as the doubt predicts it; where
    φ is a collective variable p_phi_positive, the mass of φ > 0; evaluations, all counted.
    """
    numbers = {"predicted_kl": run.model.latent.divergence(), "evaluations": float(run.system.evaluations)}
    if (there := positive(run, bins)) is not None:
        numbers["p_phi_positive"] = log_masses(run.model.latent, bins)[there].exp().sum().item()
    return numbers


def errors(run: Run, log_p: Tensor, bins: int = BINS) -> dict[str, float]:
    """The same, and what F is `off`, given the logarithms of the true masses of the bins; p_phi_positive_reference,
    that of the truth, and p_phi_positive_off, the relative error.
    """
    numbers = found(run, bins) | off(log_p, log_masses(run.model.latent, bins))
    if (there := positive(run, bins)) is not None:
        mass = log_p[there].exp().sum().item()
        numbers |= {"p_phi_positive_reference": mass, "p_phi_positive_off": numbers["p_phi_positive"] / mass - 1}
    return numbers


def off(log_p: Tensor, log_q: Tensor) -> dict[str, float]:
    """How far masses q are from the true p, given as logarithms: forward_kl, Σ p log p/q; rms_low_kt and rms_high_kt,
    the root mean square error of F = -log p where it is below 5 kT above its lowest, and between 5 and 10.
    """
    numbers, height = {"forward_kl": kl(log_p, log_q)}, log_p.max() - log_p
    for name, (above, below) in REGIONS.items():
        there = (height >= above) & (height < below)
        if there.any():
            numbers[f"rms_{name}_kt"] = (log_p - log_q)[there].square().mean().sqrt().item()
    return numbers


def line(run: Run) -> str:
    """What runs have in common that differ in their budgets and seeds alone: experiment and other overrides."""
    rest = variant(run, besides="steps-")
    return experiment(run).split()[0] + ("" if rest == "default" else f" {rest}")


class Budget(NamedTuple):
    """What so many evaluations, on average over seeds, have bought: the forward divergence of every seed."""

    evaluations: float
    kl: list[float]

    @property
    def mean(self) -> float:
        return sum(self.kl) / len(self.kl)


def budgets(runs: list[Run], log_p: Tensor, draws: int) -> list[Budget]:
    """Of runs of one line, the budgets by their size: the ends of runs with several numbers of steps; where there is
    one number of steps, each round, and snapshots during it.

    Args:
        draws: of a model without a free energy, see `learning`.
    """
    points: dict[tuple[str, int], list[tuple[float, float]]] = {}
    ends = len({experiment(run) for run in runs}) > 1
    for run in runs:
        for index, point in enumerate(learning(run, log_p, draws, ends)):
            points.setdefault((experiment(run), index), []).append(point)
    return sorted(Budget(sum(n for n, _ in same) / len(same), [apart for _, apart in same]) for same in points.values())


def learning(run: Run, log_p: Tensor, draws: int, end: bool = False) -> list[tuple[float, float]]:
    """Energy evaluations and forward divergence of every round, at snapshots and at the end, or at the end alone.

    Of a model without a free energy it is that of the weighted histogram of φ and ψ of as many draws as there were
    evaluations before, at most `draws`, which are evaluated too.
    """
    points = []
    for one in [run] if end else run.rounds:
        stages = [] if end else [one.snapshot(step) for step in one.snapshots if step < one.step]
        made = [(stage.evaluations, stage.model) for stage in stages] + [(int(one.system.evaluations), one.model)]
        for evaluations, model in made:
            if isinstance(model.latent, FreeEnergy):
                points.append((float(evaluations), kl(log_p, log_masses(model.latent, _along(log_p, model.latent)))))
            elif evaluations:
                torch.manual_seed(run.seed)
                weighted = draw(model, one.system, min(evaluations, draws))
                log_q = from_counts(histogram(one.system, weighted, round(math.sqrt(len(log_p)))))
                points.append((float(evaluations + len(weighted.x)), kl(log_p, log_q)))
    return points


def histogram(system: Molecule, weighted: Weighted, bins: int = BINS) -> Tensor:
    """Sums of the weights of draws in bins of φ and ψ, (bins²,)."""
    plane = Box([-math.pi] * 2, [math.pi] * 2, [True] * 2)
    there = weighted.log_w.isfinite()  # What weighs nothing need not have angles.
    cell = plane.cell(system.backbone(weighted.x[there]).double(), [bins] * 2)
    return torch.zeros(bins**2).double().index_add(0, cell, weighted.log_w[there].double().softmax(0))


def _along(log_p: Tensor, latent: FreeEnergy) -> int:
    return round(len(log_p) ** (1 / latent.box.size))
