"""How a training went."""

from matplotlib.figure import Figure

from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.results import Run


def training(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Loss on training and held-out frames against steps, with β on a second axis."""
    run = runs[0]
    figure, (axes,) = new(width=5.0)
    numbers, shown = {}, []
    for key, colour, label in (("train/loss", MODEL, "training"), ("val/loss", DATA, "held out")):
        steps, values = column(run, key)
        if values:
            axes.plot(steps, values, color=colour, label=label, alpha=0.9)
            numbers[f"loss_{label.replace(' ', '_')}"] = values[-1]
            shown += sorted(values)[: max(1, len(values) * 9 // 10)]
    margin = 0.05 * (max(shown) - min(shown)) or 1.0
    # The highest tenth is the fall from the start, or a blow-up; an axis that holds it shows nothing else.
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    axes.set(xlabel="optimiser step", ylabel="loss (nat)")
    axes.locator_params(axis="x", nbins=6)
    beta_axes = axes.twinx()
    steps, betas = column(run, "train/beta")
    beta_axes.plot(steps, betas, color=EXACT, linestyle=":", label="β")
    beta_axes.set(ylabel="inverse temperature β", ylim=(0, 1.05))
    beta_axes.spines["right"].set_visible(True)
    handles = [*axes.get_legend_handles_labels()[0], *beta_axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure, numbers


def column(run: Run, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one logged quantity."""
    rows = [row for row in run.history if key in row]
    return [row["step"] for row in rows], [row[key] for row in rows]
