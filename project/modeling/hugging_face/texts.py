"""OneFormer's texts: the task that it is told, and the classes that its queries are compared with
in training (Jain et al. 2023, arXiv:2211.06220).

B texts, L tokens of a text.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from project.modeling.hugging_face.pretrained import import_library, local_folder

Tokenize = Callable[[Sequence[str], int], Tensor]  # texts, L -> (B, L) long, 0 for what is free

_TASKS = ("semantic", "instance", "panoptic")


def task_text(task: str) -> str:
    """What the model is told of its task."""
    return f"the task is {task}"


def class_texts(task: str, labels: Sequence[str]) -> list[str]:
    """The text of an empty query, then that of each class, as the published models learnt them."""
    article = "a" if task == "semantic" else "an"
    return [f"{article} {task} photo", *(f"a photo with a {label}" for label in labels)]


def build_tokenizer(weights: str, labels: Sequence[str]) -> Tokenize:
    """The tokenizer that lies with pretrained weights; without weights one of our own."""
    if not weights:
        texts = [task_text(task) for task in _TASKS]
        texts += [text for task in _TASKS for text in class_texts(task, labels)]
        return WordTokenizer(texts)
    transformers = import_library()
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        local_folder(weights), trust_remote_code=False, local_files_only=True
    )

    def tokenize(texts: Sequence[str], length: int) -> Tensor:
        found: Any = tokenizer(
            list(texts),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        )
        return found["input_ids"] * found["attention_mask"]

    return tokenize


class WordTokenizer:
    """A token a word, for models that learn from nothing: no file is needed.

    The tokens are the words' places in the sorted vocabulary, so they depend on the texts alone.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Collects the vocabulary.

        Args:
            texts: all that may ever be asked for.
        """
        words = sorted({word for text in texts for word in text.split()})
        self.numbers = {word: i for i, word in enumerate(words, start=1)}
        # The text encoder reads a text's meaning at its largest token, which must be the end.
        self.start, self.end = len(words) + 1, len(words) + 2

    @property
    def size(self) -> int:
        """How many tokens there are, with 0."""
        return self.end + 1

    def __call__(self, texts: Sequence[str], length: int) -> Tensor:
        """(B, L) long; a longer text loses its last words, never its end."""
        tokens = torch.zeros(len(texts), length, dtype=torch.long)
        for row, text in zip(tokens, texts):
            numbers = [self.start, *(self.numbers[word] for word in text.split())]
            numbers = [*numbers[: length - 1], self.end]
            row[: len(numbers)] = torch.tensor(numbers)
        return tokens
