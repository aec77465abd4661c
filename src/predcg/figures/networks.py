"""What the networks are, read from the model as it was built."""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from predcg.densities import Conditional, Density
from predcg.figures.runs import needs
from predcg.figures.style import new
from predcg.measures.runs import variables
from predcg.results import Run
from predcg.transforms import Chain, Identity

LINE_INCH = 0.24
COLUMNS = {"layer": 0.0, "in → out": 0.42, "activation": 0.62, "parameters": 1.0}


class Row(NamedTuple):
    """One line of a table."""

    layer: str
    sizes: str
    activation: str = ""
    parameters: int = 0


@needs(each=True)
def networks(runs: list[Run]) -> tuple[Figure, dict[str, float]]:
    """The layers of encoder and decoder as two tables, as Schöberl et al. 2019 specify theirs.

    Numbers: parameters of each, and the decoder's weights, which are the θ that a prior sees: matrices without biases
    and variances.
    """
    model, size = runs[0].model, runs[0].system.size
    z = variables(runs[0])
    tables = {"encoder q(z|x)": layers(model.encoder, size, z), "decoder p(x|z)": layers(model.decoder, z, size)}
    figure, panels = new(columns=2, width=5.0, height=LINE_INCH * (max(map(len, tables.values())) + 4))
    figure.get_layout_engine().set(wspace=0.08, w_pad=0.12)
    for axes, (title, rows) in zip(panels, tables.items(), strict=True):
        _table(axes, title, rows, max(map(len, tables.values())))
    numbers = {
        f"{name}_parameters": sum(p.numel() for p in getattr(model, name).parameters())
        for name in ("encoder", "decoder")
    }
    return figure, numbers | {"decoder_weights": sum(p.numel() for p in model.decoder.parameters() if p.ndim >= 2)}


def layers(density: Density, context: int, size: int) -> list[Row]:
    """What a density does to a context of `context` coordinates to describe `size` others, in the order of its modules.

    >>> from predcg.densities import FreeScale, GaussianMLP
    >>> for row in layers(GaussianMLP(2, 3, hidden=[5], activations=["Tanh"], scale=FreeScale), 2, 3):
    ...     print(*row)
    trunk 2 → 5 Tanh 15
    mean 5 → 3  18
    scale (FreeScale)   3
    """
    # Others, such as the encoder that knows nothing, have no coordinates of their own.
    through = isinstance(density, Conditional)
    rows = (
        [Row(_chain(density.features), f"{context} → {density.inputs}")]
        if through and not isinstance(density.features, Identity)
        else []
    )
    behind = None  # the parent of the layer before, whose activation may follow
    for path, module in density.named_modules():
        parent, _, _ = path.rpartition(".")
        own = sum(p.numel() for p in module.parameters(recurse=False))
        name = " ".join(part for part in path.split(".") if not part.isdigit())
        if own and hasattr(module, "weight"):
            rows.append(Row(name, f"{module.weight.shape[-1]} → {module.weight.shape[0]}", "", own))
        elif own:
            rows.append(Row(f"{name} ({type(module).__name__})", "", "", own))
        elif parent == behind and not any(module.children()):
            rows[-1] = rows[-1]._replace(activation=type(module).__name__)
        behind = parent if own else None
    if through and not isinstance(density.transform, Identity):
        rows.append(Row(f"inverse of {_chain(density.transform)}", f"{density.outputs} → {size}"))
    return rows


def _chain(transform: nn.Module) -> str:
    return ", ".join(
        type(part).__name__ for part in (transform.transforms if isinstance(transform, Chain) else [transform])
    )


def _table(axes: Axes, title: str, rows: list[Row], height: int) -> None:
    """A table with rules above, below the head and below the rows; one unit of y is a line."""
    axes.axis("off")
    axes.set(xlim=(0, 1), ylim=(height + 2.5, -1.5))
    axes.text(0, -0.8, title, weight="bold", va="center")
    total = sum(row.parameters for row in rows)
    for line, row in enumerate([tuple(COLUMNS), *rows, ("in all", "", "", total)]):
        for cell, (name, left) in zip(row, COLUMNS.items(), strict=True):
            text = f"{cell:,}" if cell and isinstance(cell, int) else cell or ""
            align = "right" if name == "parameters" else "left"
            axes.text(left, line + 0.5, text, ha=align, va="center", color="#666666" if line == 0 else "black")
    for y, width in ((0, 1.2), (1, 0.6), (len(rows) + 1, 0.6), (len(rows) + 2, 1.2)):
        axes.axhline(y, color="black", linewidth=width)
