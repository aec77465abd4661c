"""Free energies of two torsions as maps, beside the truth."""

from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from predcg.errors import InputError
from predcg.figures.runs import needs
from predcg.figures.style import EXACT, MODEL, new
from predcg.measures.bins import BINS, coordinates, errors, found, judged, kl, log_masses, log_truth
from predcg.measures.free_energy import evaluations
from predcg.measures.runs import experiment, grouped, mean_over_seeds
from predcg.results import Run
from predcg.systems import Molecule

HIGHEST, ERROR = 15.0, 1.0  # kT: the ends of the colours
DOUBT = 0.2  # kT: the contour, at which the source's chains stop
SHOWN = 400  # At most so many of the collective variables that a round has asked for are drawn.
CELLS, EVERYWHERE = 6, 0.5
TICKS = range(-180, 181, 90)


@needs(Molecule, "free_energy", by=experiment)
def free_energy_maps(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """F of two torsions in kT: of the runs that are taken for the truth, where there are some, and of the first seed of
    every other experiment; without a truth the standard error too; of one that explores, since its first round has
    asked for less than half of the box, its first round, a middle one and the last, with what was asked for in that
    round; a line where the doubt is 0.2 kT.

    Numbers, means over seeds, with the name of the experiment at the end where there are several: see
    measures.bins.found, and, where there is a truth, measures.bins.errors. Of the truth: truth_evaluations of all its
    runs; of the first two, truth_kl, the divergence of one from the other, and truth_p_phi_positive of each.
    """
    shown, truths = judged(runs)
    groups = grouped(shown, experiment)
    if (size := shown[0].model.latent.box.size) != 2:
        raise InputError(
            f"figures: free_energy_maps is drawn of two collective variables; found z = {size}; leave it out"
        )
    log_p = log_truth(shown[0], truths) if truths else None
    panels = []
    if truths and shown is not truths:
        panels.append(Panel(truths[0], f"the truth\n{sum(map(evaluations, truths)):,} evaluations", log_p))
    for name, (first, *_) in groups.items():
        explores = first.number > 2 and _asked(first.load(round=1)) < EVERYWHERE
        for number in sorted({1, (first.number + 1) // 2, first.number}) if explores else [first.number]:
            one = first if number == first.number else first.load(round=number)
            title = name.replace(" ", "\n", 1) + (f", round {number}" if explores else "")
            log_q = log_masses(one.model.latent)
            off = "" if log_p is None else f", KL {kl(log_p, log_q):.2g}"
            asked = one.acquired.train.z if explores else None
            panels.append(Panel(one, f"{title}\n{evaluations(one):,} evaluations{off}", log_q, asked, True))
    count = len(panels) + (not truths)
    columns = min(count, 3)
    figure, axes = new(columns, -(-count // columns), width=3.4, height=3.3)
    for place, panel in zip(axes, panels, strict=False):
        image = draw_map(place, panel)
    for place in axes[len(panels) :]:
        place.axis("off")
    if not truths:  # What is known of the error, where there is nothing to compare with.
        last = panels[-1].run
        doubt = last.model.latent.doubt(last.model.latent.box.cells([BINS, BINS])[0]).detach()
        axes[len(panels)].axis("on")
        drawn = draw_map(axes[len(panels)], Panel(last, "standard error of F", doubt), error=True)
        figure.colorbar(drawn, ax=axes[len(panels)], label="error (kT)", shrink=0.8, extend="max")
    figure.colorbar(image, ax=axes[: len(panels)], label="free energy (kT)", shrink=0.8, extend="max")
    numbers: dict[str, float] = {}
    for name, same in groups.items():
        told = mean_over_seeds([errors(run, log_p) if log_p is not None else found(run) for run in same])
        numbers |= {f"{key}_{name}" if len(groups) > 1 else key: value for key, value in told.items()}
    return figure, numbers | _of_truth(truths)


def _asked(run: Run) -> float:
    """The share of the cells of a coarse grid in which a round has asked for collective variables."""
    return len(run.model.latent.box.cell(run.acquired.train.z, [CELLS, CELLS]).unique()) / CELLS**2


class Panel(NamedTuple):
    """A run, a title, log of the masses of its bins, (n²,), what it has asked for, (m, 2), if its doubt is shown."""

    run: Run
    title: str
    log_q: Tensor
    asked: Tensor | None = None
    doubted: bool = False


def draw_map(axes: Axes, panel: Panel, error: bool = False):
    """Draw F = -log q above its lowest, or an error, log p/q or a standard one, as it is; return the image."""
    latent = panel.run.model.latent
    z, _ = latent.box.cells([BINS, BINS])
    across, up = (
        torch.linspace(low, high, BINS + 1).rad2deg().numpy()
        for low, high in zip(latent.box.low, latent.box.high, strict=True)
    )
    if error:
        height, signed = panel.log_q, bool((panel.log_q < 0).any())
        scale = {"cmap": "RdBu_r" if signed else "Reds", "vmin": -ERROR if signed else 0.0, "vmax": ERROR}
    else:
        height, scale = panel.log_q.max() - panel.log_q, {"cmap": "viridis_r", "vmin": 0, "vmax": HIGHEST}
    image = axes.pcolormesh(across, up, height.view(BINS, BINS).T.numpy(), rasterized=True, **scale)
    if panel.doubted:
        with torch.no_grad():
            doubt = latent.doubt(z).view(BINS, BINS).T.numpy()
        if doubt.min() < DOUBT < doubt.max():
            centres = [(edges[1:] + edges[:-1]) / 2 for edges in (across, up)]
            axes.contour(*centres, doubt, levels=[DOUBT], colors=EXACT, linewidths=1.0)
    if panel.asked is not None:
        shown = panel.asked[:: max(1, len(panel.asked) // SHOWN)].rad2deg().numpy()
        axes.plot(*shown.T, ".", color=MODEL, markersize=2, alpha=0.7)
    axes.set_box_aspect(1)
    ticks = {"xticks": TICKS, "yticks": TICKS, "xlim": (across[0], across[-1]), "ylim": (up[0], up[-1])}
    one, other = coordinates(panel.run)
    axes.set(xlabel=f"{one} (degrees)", ylabel=f"{other} (degrees)", title=panel.title, **ticks)
    return image


def _of_truth(truths: list[Run]) -> dict[str, float]:
    numbers = {"truth_evaluations": float(sum(map(evaluations, truths)))} if truths else {}
    if len(truths) > 1:
        numbers["truth_kl"] = kl(*(log_masses(run.model.latent) for run in truths[:2]))
        masses = [found(run).get("p_phi_positive") for run in truths[:2]]
        if None not in masses:
            numbers["truth_p_phi_positive_off"] = abs(masses[1] / masses[0] - 1)
    return numbers
