"""How classes are numbered, by hand."""

import numpy as np
import torch

from project.data.categories import Categories

CATEGORIES = Categories(
    things=("fig", "date"), stuff=("ground", "sky", "wall"), thing_dataset_ids=(7, 3)
)


def test_numberings_meet():
    assert CATEGORIES.semantic == ("ground", "sky", "wall", "fig", "date")
    assert CATEGORIES.dataset_to_thing == {7: 0, 3: 1}
    assert [CATEGORIES.semantic_of_thing(i) for i in range(2)] == [3, 4]
    assert [CATEGORIES.is_thing(i) for i in range(5)] == [False, False, False, True, True]
    np.testing.assert_array_equal(CATEGORIES.thing_of_semantic(), [-1, -1, -1, 0, 1])


def test_numbers_of_stuff_are_those_of_the_data_set_where_it_has_any():
    assert CATEGORIES.dataset_to_stuff == {0: 0, 1: 1, 2: 2}
    own = Categories(("fig",), ("ground", "sky"), (3,), stuff_dataset_ids=(199, 92))
    assert own.dataset_to_stuff == {199: 0, 92: 1}


def test_segments_of_detectron2_name_things_and_stuff_differently():
    thing, stuff = {"category_id": torch.tensor(1), "isthing": True}, {"category_id": 1}
    assert CATEGORIES.semantic_of_segment(thing) == 4
    assert CATEGORIES.semantic_of_segment({**stuff, "isthing": False}) == 1
    assert type(CATEGORIES.semantic_of_segment(thing)) is int
