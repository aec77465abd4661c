"""Figure of a coarse chain that is offered more couplings than it needs: which of them a sparse prior leaves."""

from matplotlib.figure import Figure

from predcg.figures.ising import COLOURS
from predcg.figures.runs import needs
from predcg.figures.style import EXACT, new
from predcg.measures.couplings import left
from predcg.measures.runs import grouped, mean_over_seeds
from predcg.priors import Flat
from predcg.results import Run
from predcg.systems import IsingChain

NAMES = {"lin": "θ linear", "3rd": "θ third order"}


@needs(IsingChain, "training", "posterior", "claim", by=lambda run: isinstance(run.prior, Flat))
def coupling_path(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Couplings of the coarse chain during EM, with a flat and with a sparse prior, of the first seed; at the end their
    errors under the flat one.

    The runs have a linear and a triple term: both are odd in the spins, and stand for one another.

    Numbers, means over seeds, for each coupling: kept, the share of seeds in which the sparse prior leaves it above
    0.01; flat, its value under the flat prior, and flat_z, that in its posterior standard deviation; sparse, its value
    under the sparse prior. kept_one_odd: the share in which exactly one odd term is left.
    """
    groups = grouped(runs, lambda run: not isinstance(run.prior, Flat))
    figure, panels = new(len(groups), width=4.2, height=3.4)
    numbers = {}
    for axes, (sparse, same) in zip(panels, groups.items(), strict=True):
        numbers |= mean_over_seeds([left(run, sparse) for run in same])
        run = same[0]
        for colour, (place, (name, value)) in zip(COLOURS, enumerate(run.model.latent.couplings.items()), strict=False):
            steps, path = run.column(f"train/theta_{name}")
            axes.plot([*steps, steps[-1] + 5], [*path, value], color=colour, label=NAMES.get(name, f"θ{name}"))
            if not sparse:
                axes.errorbar(
                    steps[-1] + 8 + 3 * place,
                    value,
                    run.posterior.deviations()[place],
                    fmt="o",
                    markersize=3,
                    color=colour,
                    capsize=2,
                )
        axes.axhline(0, color=EXACT, linewidth=0.6, linestyle=":")
        title = "sparse prior" if sparse else "flat prior, with one standard deviation at the end"
        axes.set(xlabel="EM step", ylabel="coupling (kT / β)", title=title)
    low, high = (bound(axes.get_ylim()[end] for axes in panels) for end, bound in enumerate((min, max)))
    for axes in panels:
        axes.set_ylim(low, high)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure, numbers
