"""How noisy estimates of the reverse KL's gradient are."""

from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import DATA, EXACT, MODEL, new
from predcg.measures.gradients import ESTIMATORS, during, noise, root_ratio
from predcg.results import Run
from predcg.systems.planar import Planar

COLOURS = dict(zip(ESTIMATORS, ("#7fa8c9", DATA, MODEL, "#edae49"), strict=True))


@needs(Planar, "training", "variables", each=True)
def gradient_noise(
    runs: list[Run], blocks: int = 20, draws: int = 250, stages: int = 10
) -> tuple[Figure, dict[str, float]]:
    """Noise √(tr Cov) of one draw's gradient of the reverse KL with respect to the decoder's weights, for four unbiased
    estimators.

    With f = β u + log p(x|z) + log p(z) - log r(z|x): `score` is f ∇log p(x|z) (REINFORCE), `baseline` the same with
    the mean of f over the other draws subtracted from f; `reparametrised` is the derivative of f along x(θ, ε); `path`
    is that less ∇log p(x|z) at fixed x. All are of the same draws, at the β of the time, of snapshots of a run that has
    some, else of its end. Numbers, of the last point: the other noises over the reparametrised one, and the norm of the
    mean gradient.
    """
    steps, noises, norms = zip(
        *(
            (step, *noise(model, run.system, beta, blocks, draws))
            for run in runs
            for step, model, beta in during(run, stages)
        ),
        strict=True,
    )
    figure, (axes,) = new(width=5.0, height=4.0)
    for name, colour in COLOURS.items():
        axes.plot(
            steps,
            [one[name].mean().sqrt() for one in noises],
            color=colour,
            marker=".",
            label=f"noise of one draw, {name}",
        )
    axes.errorbar(steps, *zip(*norms, strict=True), color=EXACT, linestyle=":", marker=".", label="norm of the mean")
    axes.set(
        xlabel="optimiser step",
        ylabel="gradient (nat)",
        yscale="log",
        title="Gradient of the reverse KL with respect to the decoder's weights",
    )
    figure.legend(loc="outside lower center", ncols=2)
    numbers = dict(zip(("gradient_norm", "gradient_norm_error"), norms[-1], strict=True))
    for name in ("score", "baseline", "path"):
        key = f"noise_{name}_over_reparametrised"
        numbers[key], numbers[f"{key}_error"] = root_ratio(noises[-1][name], noises[-1]["reparametrised"])
    return figure, numbers
