"""How the target was approached."""

import torch
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.runs import mean_over_seeds
from predcg.measures.tempering import rises
from predcg.results import Run
from predcg.systems import System


@needs(System, "training", "adaptive")
def tempering(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """β against steps; at each β the divergence, its growth by the next rise, the effective draws, and two estimates of
    log Z. The first run is drawn.

    Numbers, means over seeds: beta_rises, how often β was raised, and beta_rises_forced, how often against the rule;
    where β has reached 1 also log_z_tempering, the sum of all estimated log-ratios, and log_z_direct, from draws of the
    last model alone, beside the exact value.
    """
    run = runs[0]
    attempts = [row for row in run.history if "tempering/rise" in row]
    figure, (schedule, growth, effective, log_z) = new(2, 2, width=4.2)
    steps, betas = run.column("train/beta")
    schedule.step(steps, betas, where="post", color=EXACT)
    schedule.set(xlabel="optimiser step", ylabel="inverse temperature β", yscale="log")
    schedule.locator_params(axis="x", nbins=5)
    for text, colour, chosen in (
        ("raised", MODEL, [row for row in attempts if row["tempering/rise"] > 0 and not row["tempering/forced"]]),
        ("forced", EXACT, [row for row in attempts if row["tempering/forced"]]),
        ("not allowed", DATA, [row for row in attempts if row["tempering/rise"] == 0]),
    ):
        schedule.plot(
            *_columns(chosen, "step", "tempering/beta"), ".", color=colour, label=f"{text}: {len(chosen)} times"
        )
        growth.plot(*_columns(chosen, "tempering/beta", "tempering/growth"), ".", color=colour)
        effective.plot(*_columns(chosen, "tempering/beta", "tempering/effective_sample_size"), ".", color=colour)
    growth.plot(*_columns(attempts, "tempering/beta", "tempering/kl"), color=DATA, label="KL(q || p_β), nat")
    growth.set(ylabel="dots: growth of the KL by the rise,\nrelative to it or to 1 nat")
    effective.set(ylabel="effective share of the draws after the rise", ylim=(0, 1.02))
    beta, total, total_error, direct, direct_error = (
        torch.tensor(run.column(key)[1], dtype=torch.float64)
        for key in (
            "tempering/beta",
            "sample/log_z",
            "sample/log_z_error",
            "sample/log_z_direct",
            "sample/log_z_direct_error",
        )
    )
    gap, error = total - direct, torch.hypot(total_error, direct_error)
    log_z.fill_between(beta, gap - error, gap + error, color=MODEL, alpha=0.3, linewidth=0)
    log_z.plot(beta, gap, color=MODEL, label="sum of log-ratios")
    log_z.axhline(0, color=DATA, label="from the draws at each β alone")
    numbers = [rises(run) for run in runs]
    if "log_z_direct_exact" in numbers[0]:
        log_z.plot(
            [1.0],
            [numbers[0]["log_z_direct_exact"] - numbers[0]["log_z_direct"]],
            "x",
            color=EXACT,
            label="exact at β = 1",
        )
    log_z.set(ylabel="log Z(β), difference (nat)", title="a jump would be a mode that the model has lost")
    for axes in (growth, effective, log_z):
        axes.set(xlabel="inverse temperature β", xscale="log", xlim=(0.5 * betas[0], 2))
    for axes in (schedule, growth, log_z):
        axes.legend()
    return figure, mean_over_seeds(numbers)


def _columns(rows: list[dict[str, float]], *keys: str) -> list[list[float]]:
    return [[row[key] for row in rows] for key in keys]
