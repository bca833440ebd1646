"""The likeliest class is torch's, of ties and of what is no number too."""

import pytest
import torch

from project.layers import best_class as module
from project.layers.best_class import best_class


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(1, 5, 7), (2, 40, 31), (19, 33, 64), (256, 3, 9)])
def test_it_is_that_of_max(monkeypatch, dtype, shape):
    monkeypatch.setattr(module, "_PIXELS", 256)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(shape, generator=generator).to(dtype)
    for given in (scores, (2 * scores).round(), scores * 0, scores.transpose(1, 2)):
        expected = given.max(dim=0).indices
        assert torch.equal(best_class(given), expected.to(torch.uint8))
        assert torch.equal(given.argmax(dim=0), expected), "of equal scores the first"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_no_number(dtype):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 30, 40, generator=generator).to(dtype)
    for value in (float("nan"), float("inf"), -float("inf")):
        scores[torch.rand(scores.shape, generator=generator) < 0.2] = value
    assert torch.equal(best_class(scores), scores.max(dim=0).indices.to(torch.uint8))
    scores[:] = -float("inf")
    assert best_class(scores).max() == 0


def test_no_pixels_and_a_gradient():
    assert best_class(torch.zeros(3, 0, 5)).shape == (0, 5)
    scores = torch.randn(3, 4, 5, requires_grad=True)
    assert torch.equal(best_class(scores), scores.max(dim=0).indices.to(torch.uint8))
