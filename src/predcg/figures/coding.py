"""What the encoder and the decoder of a planar system do: configurations to latent coordinates and back."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from predcg.figures.planar import UNIT, window
from predcg.figures.runs import needs
from predcg.figures.style import BASINS, EXACT, new
from predcg.measures.runs import mean_over_seeds
from predcg.results import Run
from predcg.systems.planar import Planar

DRAWS = 20_000
SHOWN = 2000


@needs(Planar, "basins", "training", "variables")
def encoded(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Exact draws of the system through the encoder, coloured by basin: draws and means of the first latent coordinate,
    and their histogram against N(0, 1).

    Numbers, means over seeds: mean and sd of the encoder's draws, exactly 0 and 1 where the model is perfect, which
    exact draws of the rare basin decide too; recall of each basin, the share of its configurations that are in it still
    after encoding and decoding. The first seed is drawn.
    """
    run, found = runs[0], [_encode(run) for run in runs]
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
    return figure, mean_over_seeds([_recall(run, x, z) for run, (x, _, z) in zip(runs, found, strict=True)])


@needs(Planar, "training", "variables")
def decoded(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Latent draws, coloured by z1, through the decoder and back through the encoder.

    Numbers, means over seeds: how monotonous the decoded mean of x1 is in z1 (1: perfectly, Spearman), mean and sd of
    z1 drawn by the encoder from decoded draws, exactly 0 and 1 where the encoder is the model's posterior. The first
    seed is drawn.
    """
    run, found = runs[0], [_round_trip(run) for run in runs]
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
    return figure, mean_over_seeds([_monotony(z, mean, drawn) for z, mean, _, _, drawn in found])


@torch.no_grad()
def _encode(run: Run) -> tuple[Tensor, Tensor, Tensor]:
    """Exact draws, (n, 2), and of the first latent coordinate the mean and a draw for each, (n,)."""
    torch.manual_seed(run.seed)
    x = run.system.sample(DRAWS)
    return x, run.model.cv(x)[:, 0], run.model.encoder(x).sample()[:, 0]


@torch.no_grad()
def _recall(run: Run, x: Tensor, z: Tensor) -> dict[str, float]:
    numbers = _standard("z1", z)
    label, found = run.system.label(x), run.system.label(run.model.decode(run.model.cv(x)))
    return numbers | {
        f"recall_{name}": (found[label == index] == index).double().mean().item()
        for index, name in enumerate(run.system.basins)
    }


@torch.no_grad()
def _round_trip(run: Run) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Latent draws z1 and the decoded mean of x1, (n,), decoded draws, (n, 2), and of their z1 the encoder's mean and
    draw, (n,).
    """
    torch.manual_seed(run.seed)
    z = run.model.latent().sample((DRAWS,))
    x = run.model.decoder(z).sample()
    return z[:, 0], run.model.decode(z)[:, 0], x, run.model.cv(x)[:, 0], run.model.encoder(x).sample()[:, 0]


def _monotony(z: Tensor, mean: Tensor, again: Tensor) -> dict[str, float]:
    ranks = torch.stack([values.argsort().argsort().double() for values in (z, mean)])
    return {"monotony_x1": ranks.corrcoef()[0, 1].abs().item()} | _standard("z1_again", again)


def _standard(name: str, z: Tensor) -> dict[str, float]:
    """Mean and sd with standard errors, beside those of N(0, 1)."""
    error = len(z) ** -0.5
    found = {f"mean_{name}": z.mean().item(), f"mean_{name}_error": error, f"mean_{name}_exact": 0.0}
    return found | {f"sd_{name}": z.std().item(), f"sd_{name}_error": error / 2**0.5, f"sd_{name}_exact": 1.0}
