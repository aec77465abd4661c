"""What the networks are, read from the model as it was built."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from predcg.figures.runs import needs
from predcg.figures.style import new
from predcg.measures.networks import Row, layers, sizes
from predcg.measures.runs import variables
from predcg.results import Run

LINE_INCH = 0.24
COLUMNS = {"layer": 0.0, "in → out": 0.42, "activation": 0.62, "parameters": 1.0}


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
    return figure, sizes(model)


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
