"""Right, wrong, missed and invented pixels by hand."""

import numpy as np

from project.report.difference import (
    COLOURS,
    INVENTED,
    MISSED,
    NOTHING,
    RIGHT,
    WRONG,
    draw_difference,
    instance_difference,
    match,
    semantic_difference,
)


def masks(*columns: tuple[int, int]) -> np.ndarray:
    """(N, 4, 20) masks, each full in a range of columns."""
    result = np.zeros((len(columns), 4, 20), bool)
    for mask, (start, end) in zip(result, columns):
        mask[:, start:end] = True
    return result


def codes(truth, truth_classes, found, classes, crowd=None) -> list[int]:
    """The first row of the code map."""
    return instance_difference(
        masks(*truth),
        np.array(truth_classes, int),
        masks(*found),
        np.array(classes, int),
        None if crowd is None else np.array(crowd, bool),
    )[0].tolist()


def test_semantic_with_background():
    truth = np.array([[0, 0, 1, 1, 1, 255]])
    prediction = np.array([[0, 2, 1, 0, 2, 1]])
    found = semantic_difference(truth, prediction, ignore=255, background=0)
    assert found.tolist() == [[NOTHING, INVENTED, RIGHT, MISSED, WRONG, NOTHING]]


def test_semantic_without_background_knows_right_and_wrong_only():
    truth, prediction = np.array([[0, 0, 1, 255]]), np.array([[0, 1, 1, 1]])
    found = semantic_difference(truth, prediction, ignore=255)
    assert found.tolist() == [[RIGHT, WRONG, RIGHT, NOTHING]]


def test_a_matched_object_shows_its_ragged_border():
    # IoU 8 / 12.
    expected = [MISSED] * 2 + [RIGHT] * 8 + [INVENTED] * 2 + [NOTHING] * 8
    assert codes([(0, 10)], [0], [(2, 12)], [0]) == expected


def test_an_iou_below_one_half_is_no_match():
    # IoU 6 / 14: the true object is missed, the other invented, and it lies on top.
    expected = [MISSED] * 4 + [INVENTED] * 10 + [NOTHING] * 6
    assert codes([(0, 10)], [0], [(4, 14)], [0]) == expected


def test_another_class_in_the_same_place_is_wrong():
    assert codes([(0, 10)], [0], [(0, 9)], [1]) == [WRONG] * 10 + [NOTHING] * 10


def test_a_duplicate_is_invented():
    assert codes([(0, 10)], [0], [(0, 10), (0, 8)], [0, 0]) == (
        [INVENTED] * 8 + [RIGHT] * 2 + [NOTHING] * 10
    )


def test_the_right_class_is_matched_before_a_more_confident_wrong_one():
    truth, found = masks((0, 10)), masks((0, 10), (0, 9))
    assert match(truth, np.array([0]), found, np.array([1, 0])) == [(0, 1)]


def test_crowds_are_neither_missed_nor_excuse_what_lies_elsewhere():
    truth, found = [(0, 8), (10, 20)], [(12, 15), (8, 10)]
    expected = [MISSED] * 8 + [INVENTED] * 2 + [NOTHING] * 10
    assert codes(truth, [0, 0], found, [0, 0], crowd=[False, True]) == expected


def test_nothing_on_either_side():
    assert codes([], [], [], []) == [NOTHING] * 20


def test_colours_of_the_picture():
    image = np.full((1, 5, 3), 100, np.uint8)
    picture = draw_difference(image, np.array([[NOTHING, RIGHT, WRONG, MISSED, INVENTED]]))
    grey = 75  # 100 * 0.55 + 20
    assert picture[0, 0].tolist() == [grey] * 3
    for column, alpha in ((RIGHT, 0.6), (WRONG, 0.8), (MISSED, 0.8), (INVENTED, 0.8)):
        expected = (1 - alpha) * grey + alpha * np.array(COLOURS[column][1])
        assert np.abs(picture[0, column] - expected).max() <= 0.5
