"""metrics.csv: every logged number of a run, also of one that was interrupted and resumed."""

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from predcg.files import atomic, reading


class History(Logger):
    """A CSV file with one row per logged step. Lightning's own logger deletes the file on resume; this one goes on.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = Path(path)
        self.rows: dict[int, dict[str, float]] = (
            {row["step"]: row for row in read_history(self.path)} if self.path.exists() else {}
        )

    @property
    def name(self) -> str:
        return "history"

    @property
    def version(self) -> int:
        return 0

    @property
    @rank_zero_experiment
    def experiment(self) -> "History":
        return self

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any) -> None:
        """The run folder's config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        values = {name: value for name, value in metrics.items() if name != "epoch"}
        if values:
            self.rows.setdefault(step, {"step": step}).update(values)

    @rank_zero_only
    def truncate(self, step: int) -> None:
        """Forget what was logged after `step`: a resumed run will log it again."""
        self.rows = {at: row for at, row in self.rows.items() if at <= step}

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self.save()

    def finalize(self, status: str) -> None:
        self.save()

    @rank_zero_only
    def save(self) -> None:
        names = ["step", *sorted({name for row in self.rows.values() for name in row} - {"step"})]
        with atomic(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows[step] for step in sorted(self.rows))


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics.csv, without the empty cells."""
    with reading(path), path.open(newline="") as file:
        if not file.read().endswith("\n"):
            raise ValueError("its end is missing")
        file.seek(0)
        rows = [{name: float(cell) for name, cell in row.items() if cell != ""} for row in csv.DictReader(file)]
        return [row | {"step": int(row["step"])} for row in rows]
