"""What a model learnt from the energy alone knows of its molecule: its own draws, as they are and reweighted."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from predcg.batch import Batch
from predcg.figures.coverage import BEYOND, FREE_ENERGY, Sample, free_energy_map, masses
from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, PALE, new
from predcg.importance import Weighted
from predcg.measures.reweighting import find
from predcg.measures.runs import mean_over_seeds, states
from predcg.measures.weights import density
from predcg.results import Run
from predcg.systems import Molecule

SPREAD = 10.0  # Weights are drawn up to so many nat on either side of log Z.


@needs(Molecule, "training", "draws")
def reweighting(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Draws of the model with weights w = p̃/q towards the target: the weights, free energies of φ and ψ, masses of
    basins. Means over seeds; the first is drawn.

    Numbers: effective_sample_size, the share of the draws that the weights leave; log_z, that of the mean weight;
    log_z_lower, the reverse bound E_q log w; log_z_upper, the forward bound E_p log w, only where there is a simulation
    of the target, from its frames that were not learnt from; the mass of every basin, reweighted, p_<basin>, and as the
    model has it, p_<basin>_model, beside that of the simulation. The draws are those in the run folder.
    """
    found = [find(run) for run in runs]
    numbers = mean_over_seeds([one.numbers for one in found])
    run, (weighted, simulated, above, _) = runs[0], found[0]
    maps = {} if run.system.backbone is None else {"model": Batch.of(weighted.x), "model, reweighted": weighted.batch}
    figure, panels = new(columns=2, rows=2, width=3.8, height=3.2) if maps else new(width=4.4)
    for axes, (text, batch) in zip(panels, maps.items(), strict=False):
        image = free_energy_map(axes, run.system, Sample.of(run.system, batch), text)
    if maps:
        figure.colorbar(image, ax=panels[: len(maps)], label=FREE_ENERGY)
    _weights(panels[len(maps)], weighted, simulated, above, found[0].numbers)
    if maps:
        masses(
            panels[3],
            numbers,
            states(run.system),
            [("_model", PALE, "model"), ("", MODEL, "model, reweighted"), ("_reference", EXACT, "simulation")],
        )
    return figure, numbers


def _weights(axes: Axes, weighted: Weighted, simulated: Batch, above: Tensor, numbers: dict[str, float]) -> None:
    middle = weighted.log_z[0]
    bins = np.linspace(-SPREAD, SPREAD, 81)
    for batch, log_w, colour, text in (
        (Batch.of(weighted.x), weighted.log_w, MODEL, "draws of the model"),
        (simulated, above, DATA, "simulated frames"),
    ):
        if len(log_w):
            values = (log_w - middle).clamp(-SPREAD, SPREAD)
            axes.stairs(density(batch, values, bins), bins, linewidth=1.4, color=colour, label=text)
    axes.axvline(0, color=EXACT, linestyle=":", linewidth=1)
    upper = (
        f"upper bound {numbers['log_z_upper']:.5g}"
        if "log_z_upper" in numbers
        else "no upper bound without a simulation"
    )
    size = (
        f"effective sample size {numbers['effective_sample_size']:.3g} ± {numbers['effective_sample_size_error']:.1g}"
    )
    axes.set_title(f"{size}\nlog Z: lower bound {numbers['log_z_lower']:.5g}\n{upper}")
    axes.set(xlabel=f"log p(x) - log q(x) (nat)\n{BEYOND}", ylabel="density (1/nat)")
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])
    axes.legend(fontsize=8, loc="upper left")
