"""Figures of two-dimensional systems, whose exact answers are known."""

import torch
from matplotlib.figure import Figure

from predcg.figures.style import DATA, EXACT, MODEL, needs, new
from predcg.figures.training import column
from predcg.importance import draw, log_z_bounds
from predcg.results import Run
from predcg.systems.planar import Planar

DRAWS = 20_000
WEIGHTED = 200_000  # for the mass of a basin that the model visits once in a thousand draws


@needs(Planar)
def bounds(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Both bounds of log Z during training against the exact value; at the end also what a bound cannot see.

    Numbers: both bounds and the importance-weighted estimate, with errors; the mass of every basin, mean and sd of x1, each as the model has it and after
    importance reweighting, beside the exact value; the effective sample size of the weights.
    """
    run = runs[0]
    exact = run.system.exact()
    numbers = log_z_bounds(run.model, run.system, run.system.sample(DRAWS), DRAWS)
    numbers |= {"log_z_lower_exact": exact["log_z"], "log_z_upper_exact": exact["log_z"]}
    numbers["log_z_gap"] = numbers["log_z_upper"] - numbers["log_z_lower"]
    weighted = draw(run.model, run.system, WEIGHTED, samples=16)
    numbers["log_z"], numbers["log_z_error"] = weighted.log_z
    numbers["log_z_exact"] = exact["log_z"]
    numbers["effective_sample_size"] = weighted.effective_sample_size
    label, x1 = run.system.label(weighted.x), weighted.x[:, 0]
    for index, name in enumerate(run.system.basins):
        inside = (label == index).float()
        numbers[f"p_{name}"], numbers[f"p_{name}_error"] = weighted.mean(inside)
        numbers[f"p_{name}_model"] = inside.mean().item()
        numbers[f"p_{name}_exact"] = numbers[f"p_{name}_model_exact"] = exact[f"p_{name}"]
    for name, values in {"mean_x1": x1, "sd_x1": (x1 - exact["mean_x1"]) ** 2}.items():
        root = (lambda value: value**0.5) if name == "sd_x1" else (lambda value: value)
        numbers[name], numbers[f"{name}_model"] = root(weighted.mean(values)[0]), root(values.mean().item())
        numbers[f"{name}_exact"] = numbers[f"{name}_model_exact"] = exact[name]

    figure, (axes,) = new(width=5.0)
    for key, colour, text in (("log_z_lower", MODEL, "lower: E over the model"), ("log_z_upper", DATA, "upper: E over the system")):
        axes.plot(*column(run, f"sample/{key}"), color=colour, label=text)
    axes.axhline(exact["log_z"], color=EXACT, linestyle=":", label=f"exact log Z = {exact['log_z']:.4f}")
    axes.set(xlabel="optimiser step", ylabel="bound of log Z at β = 1 (nat)", ylim=(exact["log_z"] - 1.0, exact["log_z"] + 1.0))
    rare = min(run.system.basins, key=lambda name: exact[f"p_{name}"], default=None)
    if rare:
        masses = f"exact {exact[f'p_{rare}']:.5f}, reweighted {numbers[f'p_{rare}']:.5f}, model {numbers[f'p_{rare}_model']:.5f}"
        axes.set_title(f"What a bound cannot see: mass of the {rare} basin\n{masses}")
    axes.legend()
    return figure, numbers


@needs(Planar)
def contours(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """Contours of the energy in kT with draws of the model, coloured by the latent coordinate that made them."""
    run = runs[0]
    with torch.no_grad():
        z = run.model.latent().sample((4000,))
        x = run.model.decoder(z).sample()
    p = run.system.probabilities()
    inside = run.system.grid[p > p.max() * 1e-6]
    (x_low, y_low), (x_high, y_high) = inside.min(0).values.tolist(), inside.max(0).values.tolist()
    side = round(len(p) ** 0.5)
    grid, u = run.system.grid.view(side, side, 2), run.system.energy(run.system.grid).view(side, side)
    figure, (axes,) = new(width=4.6, height=3.6)
    above = u - u.min()
    axes.contour(grid[..., 0], grid[..., 1], above, levels=range(0, 17, 2), colors="#999999", linewidths=0.7)
    points = axes.scatter(x[:, 0], x[:, 1], c=z[:, 0], s=3, cmap="viridis", vmin=-2.5, vmax=2.5, linewidths=0)
    figure.colorbar(points, ax=axes, label="latent coordinate z1 (standard deviations)")
    axes.set(xlabel="x1 (reduced units)", ylabel="x2 (reduced units)", xlim=(x_low, x_high), ylim=(y_low, y_high), title="model draws; contours of u every 2 kT")
    return figure, {}


@needs(Planar)
def profile(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """u(x1, 0) against -log q(x1, 0), both with minimum 0. Number: the depth of the right minimum over the left one."""
    run = runs[0]
    axis = run.system.grid[:, 0].unique()
    p = run.system.probabilities().view(len(axis), -1).sum(1)
    x1 = axis[p > p.max() * 1e-9].float()
    x = torch.stack([x1, torch.zeros_like(x1)], -1)
    with torch.no_grad():
        u, log_q = run.system.energy(x), run.model.log_prob(x, 2000)
    curves = {"u(x1, 0)": (u - u.min(), EXACT, ":"), "-log q(x1, 0), model": (log_q.max() - log_q, MODEL, "-")}
    figure, (axes,) = new(width=4.6)
    for text, (values, colour, line) in curves.items():
        axes.plot(x1, values, color=colour, linestyle=line, label=text)
    axes.set(xlabel="x1 (reduced units)", ylabel="energy, free energy (kT)", ylim=(-0.5, 25))
    axes.legend()
    gaps = [(values[x1 > 0].min() - values[x1 <= 0].min()).item() for values, _, _ in curves.values()]
    return figure, {"depth_gap_kt": gaps[1], "depth_gap_kt_exact": gaps[0]}
