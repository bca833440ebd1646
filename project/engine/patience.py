"""When a score has stood still for long enough."""

from typing import Any


class Patience:
    """Counts the evaluations since the last rise of a score.

    Attributes:
        best: the highest value so far; None before the first.
        waited: evaluations since then.
    """

    def __init__(self, patience: int, min_delta: float) -> None:
        """Starts to wait.

        Args:
            patience: evaluations without a rise that are borne; at least 1.
            min_delta: a rise of not more than this is none.
        """
        self.patience = patience
        self.min_delta = min_delta
        self.best: float | None = None
        self.waited = 0

    def ends(self, value: float | None) -> bool:
        """Takes a value; says whether patience is at its end, and then starts anew.

        A score that could not be computed is no rise.
        """
        if value is not None and (self.best is None or value > self.best + self.min_delta):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.waited < self.patience:
            return False
        self.waited = 0
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on must know."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self.best, self.waited = state["best"], state["waited"]
