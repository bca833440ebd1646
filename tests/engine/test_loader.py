"""Worker processes of the loader and the threads of OpenCV."""

import signal

import cv2
import numpy as np
import pytest

from project.engine.loader import TrainLoader


class Threads:
    """Of OpenCV, in the process that loads; each item uses them."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        cv2.GaussianBlur(np.full((800, 800, 3), index, dtype=np.uint8), (9, 9), 2)
        return cv2.getNumThreads()


@pytest.fixture
def pool():
    """Threads of OpenCV that have worked here, and an end to waiting for them for ever."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), dtype=np.uint8), (31, 31), 5)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("the workers hang"))
    signal.alarm(60)
    yield
    signal.alarm(0)
    cv2.setNumThreads(before)


def test_workers_have_one_thread_and_the_training_keeps_its_own(pool):
    loader = TrainLoader(Threads(), num_workers=2, batch_size=None)
    assert list(loader) == [1] * 4
    assert cv2.getNumThreads() == 4


def test_without_workers_the_threads_are_those_of_the_training(pool):
    loader = TrainLoader(Threads(), num_workers=0, batch_size=None)
    assert list(loader) == [4] * 4
