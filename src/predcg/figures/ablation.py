"""The mass of rare states under the model itself, raw, over seeds: what bounds, moments and reweighted averages do not
see.
"""

from matplotlib.figure import Figure

from predcg.errors import InputError
from predcg.figures.runs import needs
from predcg.figures.style import BASINS, DATA, EXACT, MODEL, new
from predcg.measures.basins import drawn, four_criteria, masses
from predcg.measures.exact import rarest
from predcg.measures.runs import grouped, mean_over_seeds, variant
from predcg.measures.weights import mean
from predcg.results import Run
from predcg.systems import System
from predcg.systems.planar import Planar


@needs(Planar, "basins", "training", by=lambda run: variant(run))
def minor_well(runs: list[Run], draws: int = 1_000_000, bounded: int = 20_000) -> tuple[Figure, dict[str, float]]:
    """Mass of the rarest basin under the model over its exact mass, seed by seed, for every variant of a method.

    Numbers, means over the seeds of a variant, whose overrides end the names: minor_mass_ratio; mean and sd of x1; both
    bounds of log Z; success, the share of seeds with the mass within 20 %, and the mean, the standard deviation and
    both bounds within 0.05 of the exact ones.
    """
    groups = grouped(runs, variant)
    figure, (axes,) = new(width=6.0, height=1.0 + 0.55 * len(groups))
    numbers, labels = {}, []
    for row, (name, same) in enumerate(groups.items()):
        found = [four_criteria(run, draws, bounded) for run in same]
        numbers |= mean_over_seeds(found, f"_{name}")
        good = sum(int(one["success"]) for one in found)
        axes.scatter(
            [one["minor_mass_ratio"] for one in found], [row] * len(found), color=MODEL, s=14, alpha=0.6, linewidths=0
        )
        axes.errorbar(
            numbers[f"minor_mass_ratio_{name}"],
            row,
            xerr=numbers.get(f"minor_mass_ratio_{name}_error"),
            fmt="|",
            color=EXACT,
            capsize=3,
        )
        labels.append(f"{name}\n{good} of {len(same)} seeds meet all four")
    axes.axvspan(0.8, 1.2, color=DATA, alpha=0.12, linewidth=0)
    axes.axvline(1, color=EXACT, linestyle=":")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(
        xlabel=f"mass of the {rarest(runs[0].system.exact(), runs[0].system)} basin under the model / exact",
        xlim=(-0.05, None),
        ylim=(len(labels) - 0.5, -0.5),
    )
    return figure, numbers


@needs(System, "basins", "training", "claim", by=lambda run: _variant_and_alpha(run))
def recovered_mass(runs: list[Run], draws: int = 1_000_000) -> tuple[Figure, dict[str, float]]:
    """Mass of every basin under the model, raw, against α, the share of the data in a mixed objective; one line per
    variant, means over seeds.

    Numbers: p_<basin>_alpha<α>, with the overrides of the variant at the end where there are several, and the exact
    mass where it is known; p_<basin>_data, the share of the training frames. Where the energy part is a forward
    divergence too, a model that can be anything ends at α p_data + (1 - α) p_exact: the dashed line.
    """
    groups = grouped(runs, _variant_and_alpha)
    names = sorted({name for name, _ in groups})
    numbers, exact = {}, runs[0].system.exact()
    for (name, alpha), same in groups.items():
        found = [{f"p_{basin}": mass for basin, mass in masses(run.system, drawn(run, draws)).items()} for run in same]
        numbers |= mean_over_seeds(found, _suffix(alpha, name, names))
    frames = runs[0].data.train
    label = runs[0].system.label(frames.x)
    figure, panels = new(len(runs[0].system.basins), width=3.6, height=3.2)
    for index, (axes, basin) in enumerate(zip(panels, runs[0].system.basins, strict=True)):
        numbers[f"p_{basin}_data"] = data = mean(frames, label == index).item()
        if f"p_{basin}" in exact:
            numbers[f"p_{basin}_exact"] = exact[f"p_{basin}"]
            axes.axhline(exact[f"p_{basin}"], color=EXACT, linestyle=":", label="exact")
            axes.plot(
                [0, 1],
                [exact[f"p_{basin}"], data],
                color=EXACT,
                linestyle="--",
                linewidth=0.8,
                label="α data + (1 - α) exact",
            )
        for colour, name in zip(BASINS[1:], names, strict=False):
            alphas = [alpha for other, alpha in groups if other == name]
            keys = [f"p_{basin}{_suffix(alpha, name, names)}" for alpha in alphas]
            errors = [numbers.get(f"{key}_error", 0.0) for key in keys]
            axes.errorbar(
                alphas,
                [numbers[key] for key in keys],
                errors,
                marker="o",
                markersize=3,
                capsize=2,
                color=colour,
                label=name,
            )
        axes.set(xlabel="α, share of the data", ylabel="mass under the model", title=f"{basin}: {data:.3g} of the data")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure, numbers


def _variant_and_alpha(run: Run) -> tuple[str, float]:
    return variant(run, besides="alpha-"), _alpha(run)


def _alpha(run: Run) -> float:
    logged = run.column("train/alpha")[1]
    if not logged:
        raise InputError(
            f"recovered_mass: expected runs with a mixed objective, which log their alpha; found {run.name}; choose"
            " objective=mixed"
        )
    return round(logged[-1], 4)


def _suffix(alpha: float, name: str, names: list[str]) -> str:
    return f"_alpha{alpha:g}" + (f"_{name}" if len(names) > 1 else "")
