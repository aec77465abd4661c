"""The errors that the command line tells in one line."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # Help, and a refusal of the command line, do not wait for torch.
    from torch import Tensor


class InputError(ValueError):
    """Input that cannot be used: one line with the argument, what was expected, what was found, and the fix.

    The command line prints it without a traceback and exits with code 2.
    """


class FigureError(RuntimeError):
    """Figures of a run that has finished without them.

    The command line prints one line and exits with code 1; tracebacks are in the run folder.
    """


class NonFiniteError(FloatingPointError):
    """Numbers that are not finite, with one configuration, (D,), that has them.

    The command line writes the configuration into the run folder, prints one line, and exits with code 1.
    """

    def __init__(self, reason: str, x: "Tensor | None" = None):  # The default is for pickle.
        super().__init__(reason)
        self.x = x
