"""What the networks are, read from the model as it was built."""

from typing import NamedTuple

from torch import nn

from predcg.densities import Conditional, Density
from predcg.model import Model
from predcg.transforms import Chain, Identity


class Row(NamedTuple):
    """One line of a table."""

    layer: str
    sizes: str
    activation: str = ""
    parameters: int = 0


def sizes(model: Model) -> dict[str, int]:
    """Parameters of encoder and decoder, and those of the decoder that are weights, which a prior sees."""
    numbers = {
        f"{name}_parameters": sum(p.numel() for p in getattr(model, name).parameters())
        for name in ("encoder", "decoder")
    }
    return numbers | {"decoder_weights": sum(p.numel() for p in model.decoder.parameters() if p.ndim >= 2)}


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
    behind = None  # It is the parent of the layer before, whose activation may follow.
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
