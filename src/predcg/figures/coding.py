"""What the encoder and the decoder of a planar system do: configurations to latent coordinates and back."""

import torch
from matplotlib.figure import Figure

from predcg.figures.planar import UNIT
from predcg.figures.runs import needs
from predcg.figures.style import BASINS, EXACT, new
from predcg.measures.coding import encode, monotony, recall, round_trip
from predcg.measures.planar import window
from predcg.measures.runs import mean_over_seeds
from predcg.results import Run
from predcg.systems.planar import Planar

SHOWN = 2000


@needs(Planar, "basins", "training", "variables", "normal")
def encoded(runs: list[Run], draws: int = 20_000) -> tuple[Figure, dict[str, float]]:
    """Exact draws of the system through the encoder, coloured by basin: draws and means of the first latent coordinate,
    and their histogram against N(0, 1).

    Numbers, means over seeds: mean and sd of the encoder's draws, exactly 0 and 1 where the model is perfect, which
    exact draws of the rare basin decide too; recall of each basin, the share of its configurations that are in it still
    after encoding and decoding. The first seed is drawn.
    """
    run, found = runs[0], [encode(run, draws) for run in runs]
    x, mean, z = found[0]
    label = run.system.label(x)
    figure, (plane, axes) = new(2, width=4.2, height=3.4)
    for index, name in enumerate(run.system.basins):
        here, colour = (label == index).nonzero().flatten()[:SHOWN], BASINS[index % len(BASINS)]
        plane.scatter(x[here, 0], z[here], s=2, color=colour, alpha=0.15, linewidths=0)
        plane.scatter(
            x[here, 0], mean[here], s=5, color=colour, linewidths=0, label=f"{name} ({(label == index).sum()} draws)"
        )
    plane.set(
        xlabel=f"x1 {UNIT}", ylabel="latent coordinate z1", title="encoder: means (dots) and draws (pale)", ylim=(-4, 4)
    )
    plane.legend(markerscale=3)
    bins = torch.linspace(-4, 4, 41)
    parts = [z[label == index].numpy() for index in range(len(run.system.basins))]
    share = [torch.full((len(part),), 1 / (len(z) * 0.2)).numpy() for part in parts]
    axes.hist(parts, bins=bins.numpy(), weights=share, stacked=True, color=BASINS[: len(parts)], alpha=0.5)
    axes.plot(bins, (-(bins**2) / 2).exp() / (2 * torch.pi) ** 0.5, color=EXACT, linestyle=":", label="N(0, 1)")
    axes.set(xlabel="latent coordinate z1", ylabel="density of encoded draws", yscale="log", ylim=(1e-4, 1))
    axes.legend()
    return figure, mean_over_seeds([recall(run, x, z) for run, (x, _, z) in zip(runs, found, strict=True)])


@needs(Planar, "training", "variables", "normal")
def decoded(runs: list[Run], draws: int = 20_000) -> tuple[Figure, dict[str, float]]:
    """Latent draws, coloured by z1, through the decoder and back through the encoder.

    Numbers, means over seeds: how monotonous the decoded mean of x1 is in z1 (1: perfectly, Spearman), mean and sd of
    z1 drawn by the encoder from decoded draws, exactly 0 and 1 where the encoder is the model's posterior. The first
    seed is drawn.
    """
    run, found = runs[0], [round_trip(run, draws) for run in runs]
    z, mean, x, again, _ = found[0]
    side = round(len(run.system.grid) ** 0.5)
    grid, u = run.system.grid.view(side, side, 2), run.system.energy(run.system.grid).view(side, side)
    figure, (plane, along, back) = new(3, width=3.5, height=3.2)
    plane.contour(grid[..., 0], grid[..., 1], u - u.min(), levels=range(0, 17, 2), colors="#999999", linewidths=0.7)
    x_limits, y_limits = window(run.system)
    plane.set(
        xlabel=f"x1 {UNIT}", ylabel=f"x2 {UNIT}", xlim=x_limits, ylim=y_limits, title="draws; contours of u every 2 kT"
    )
    along.set(xlabel="latent coordinate z1", ylabel=f"x1 {UNIT}", title="decoded draws")
    back.set(xlabel="latent coordinate z1", ylabel="encoded again, mean", title="and encoded again")
    back.axline((0, 0), slope=1, color=EXACT, linestyle=":", linewidth=1)
    for axes, points in ((plane, (x[:, 0], x[:, 1])), (along, (z, x[:, 0])), (back, (z, again))):
        shown = axes.scatter(
            *(values[:SHOWN] for values in points), c=z[:SHOWN], s=3, cmap="viridis", vmin=-2.5, vmax=2.5, linewidths=0
        )
    along.plot(z[:SHOWN], mean[:SHOWN], ".", color=EXACT, markersize=1, label="decoded mean")
    along.legend(markerscale=5)
    figure.colorbar(shown, ax=back, label="latent coordinate z1")
    return figure, mean_over_seeds([monotony(z, mean, drawn) for z, mean, _, _, drawn in found])
