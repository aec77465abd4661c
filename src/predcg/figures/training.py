"""How a training went."""

from matplotlib.figure import Figure

from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.results import Run


def training(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Loss on training and held-out frames against steps, with β on a second axis."""
    run = runs[0]
    figure, (axes,) = new(width=5.0)
    numbers = {}
    for key, colour, label in (("train/loss", MODEL, "training"), ("val/loss", DATA, "held out")):
        steps, values = column(run, key)
        if values:
            axes.plot(steps, values, color=colour, label=label, alpha=0.9)
            numbers[f"loss_{label.replace(' ', '_')}"] = values[-1]
    tail = sorted(column(run, "train/loss")[1][len(column(run, "train/loss")[1]) // 10 :])
    if tail:  # the first tenth falls from far above; an axis that holds it shows nothing else
        margin = 0.1 * (tail[-1] - tail[0]) or 1.0
        axes.set_ylim(tail[0] - margin, tail[-1] + 2 * margin)
    axes.set(xlabel="optimiser step", ylabel="loss (nat)")
    beta_axes = axes.twinx()
    steps, betas = column(run, "train/beta")
    beta_axes.plot(steps, betas, color=EXACT, linestyle=":", label="β")
    beta_axes.set(ylabel="inverse temperature β", ylim=(0, 1.05))
    beta_axes.spines["right"].set_visible(True)
    handles = [*axes.get_legend_handles_labels()[0], *beta_axes.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, loc="upper right")
    return figure, numbers


def column(run: Run, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one logged quantity."""
    rows = [row for row in run.history if key in row]
    return [row["step"] for row in rows], [row[key] for row in rows]
