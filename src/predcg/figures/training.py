"""How a training went."""

from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.results import Run, bounds
from predcg.systems import System


@needs(System, "training", each=True)
def training(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """The bound that training raises, the prior left out, on training and held-out frames against steps, with β on a
    second axis; see results.bounds for the numbers.
    """
    run = runs[0]
    figure, (axes,) = new(width=5.0)
    numbers, shown = bounds(run), []
    for key, colour, label in (("train/bound", MODEL, "training"), ("val/bound", DATA, "held out")):
        steps, values = run.column(key)
        if values:
            axes.plot(
                steps,
                values,
                color=colour,
                label=label,
                alpha=0.9,
                marker="o" if len(values) < 10 else "",
                markersize=3,
            )
            shown += sorted(values)[-(-len(values) // 10) if len(values) > 2 else 0 :]
    margin = 0.05 * (max(shown) - min(shown)) or 1.0
    # The lowest tenth is the rise from the start, or a blow-up; an axis that holds it shows nothing else.
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    axes.set(xlabel="optimiser step", ylabel="bound (nat)")
    if len(held_out := run.column("val/bound")[0]) and run.step < held_out[-1]:
        axes.axvline(run.step, color=EXACT, linewidth=0.8, label="model used")
    axes.locator_params(axis="x", nbins=6)
    beta_axes = axes.twinx()
    steps, betas = run.column("train/beta")
    beta_axes.plot(steps, betas, color=EXACT, linestyle=":", label="β")
    beta_axes.set(ylabel="inverse temperature β", ylim=(0, 1.05))
    beta_axes.spines["right"].set_visible(True)
    handles = [*axes.get_legend_handles_labels()[0], *beta_axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure, numbers
