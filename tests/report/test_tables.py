"""Which numbers come first is said once, in project.evaluation.results."""

import pytest

from project.evaluation.results import HEADLINES
from project.report.tables import FIRST_SCORES, GROUPS


def test_cards_and_curves_show_headlines():
    assert {task for task, _, _ in FIRST_SCORES} == {"bbox", "segm", "sem_seg", "panoptic_seg"}
    assert [(t, m) for t, m, _ in FIRST_SCORES if m not in HEADLINES[t]] == []


@pytest.mark.parametrize("task", HEADLINES)
def test_tables_have_a_place_for_every_headline(task):
    (group,) = (group for group in GROUPS if task in group.tasks())
    ends = [end for _, row_task, end in group.rows if row_task == task]
    assert set(HEADLINES[task]) <= {column + end for column in group.columns for end in ends}
