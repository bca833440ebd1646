"""What the hooks of a training know of its last iterations."""

from collections import defaultdict
from functools import partial

from detectron2.utils.events import EventStorage
from fvcore.common.history_buffer import HistoryBuffer

_LENGTH = 1000  # of what is smoothed at most: LOG_PERIOD iterations, or 20


class BoundedStorage(EventStorage):
    """Detectron2's, which keeps every number of the last million iterations: 2 KB an iteration."""

    def __init__(self, start_iter: int, log_period: int) -> None:
        """Starts empty.

        Args:
            start_iter: the first iteration.
            log_period: iterations between two lines of progress.
        """
        super().__init__(start_iter)
        self._history: defaultdict[str, HistoryBuffer] = defaultdict(
            partial(HistoryBuffer, max(_LENGTH, log_period))
        )
