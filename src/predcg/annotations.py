"""What a constructor's annotations say: of its parameters, and in words."""

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from hydra.utils import get_object

WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    Any: "anything",
    dict: "a mapping",
}
HANDED_ON = {"WandbLogger": "wandb.init"}  # Here a constructor's further keywords go.
SIGNS = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}


class Node:
    """Stands for what a node with a _target_ makes."""


@functools.cache
def parameters(target: Callable) -> dict[str, Any]:
    """The annotations of a constructor's parameters, and of those it hands its keywords on to; Any where there is none,
    or one that cannot be read at run time.
    """
    further = parameters(get_object(HANDED_ON[target.__name__])) if target.__name__ in HANDED_ON else {}
    return further | {
        name: _hint(target, parameter.annotation) for name, parameter in inspect.signature(target).parameters.items()
    }


def _hint(target: Callable, annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    makes = target.__init__ if isinstance(target, type) else target
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return get_type_hints(holder, vars(inspect.getmodule(inspect.unwrap(makes))), include_extras=True)["it"]
    except NameError:  # Its library imports this name for type checkers only.
        return Any


def expected(hint: Any) -> str:
    """An annotation in words.

    >>> from predcg.ranges import PositiveInt, Seed
    >>> expected(list[PositiveInt] | None), expected(Seed), expected(Literal["last", "best"])
    ('a list of (a whole number >= 1) or null', 'a whole number >= 0 and <= 2147483647', 'last or best')
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, *limits = arguments
        told = [
            f"{SIGNS[type(limit)]} {getattr(limit, type(limit).__name__.lower())}"
            for limit in limits
            if type(limit) in SIGNS
        ]
        return f"{expected(base)} {' and '.join(told)}".rstrip()
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(expected, arguments)))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if hint is Node:
        return "a node with a _target_"
    if origin is dict:
        return "a mapping"
    if origin is tuple:
        return f"a list of {len(arguments)}: {', '.join(map(expected, arguments))}"
    if origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        return f"a list of ({expected(arguments[0])})"
    if origin is not None and origin is Callable:
        return "what makes one (_target_)"
    return WORDS.get(hint) or f"a {getattr(hint, '__name__', hint)}"
