"""The steps of several rounds on one axis."""

from argparse import Namespace
from typing import Any

from pytorch_lightning.loggers.logger import Logger


class Later(Logger):
    """Hands on to another logger what a later round logs, its steps counted on from those of the rounds before.

    Args:
        logger: of the whole run.
        steps: those of all rounds before.
        round: number of this round, which is logged as `round`.
    """

    def __init__(self, logger: Logger, steps: int, round: int):
        super().__init__()
        self.logger, self.steps, self.round = logger, steps, round

    @property
    def name(self) -> str | None:
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        return self.logger.version

    @property
    def experiment(self) -> Any:
        return self.logger.experiment

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any) -> None:
        self.logger.log_hyperparams(params, *args)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logger.log_metrics(metrics | {"round": self.round}, self.steps + (step or 0))

    def save(self) -> None:
        self.logger.save()

    def finalize(self, status: str) -> None:
        self.logger.finalize(status)
