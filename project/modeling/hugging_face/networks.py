"""What the library's models have in common, seen from outside: logits, and losses of targets.

N images, Q queries, K classes, H x W pixels of the padded batch, h x w values of logits.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from project.errors import ConfigError
from project.modeling.hugging_face.criterion import RecordingCriterion
from project.modeling.hugging_face.targets import Target
from project.modeling.hugging_face.texts import Tokenize, WordTokenizer, class_texts, task_text


class PixelNetwork(nn.Module):
    """A model that labels each pixel."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, h, w) logits in float32."""
        return self.model(pixel_values=images).logits.float()


class QueryNetwork(nn.Module):
    """A model of queries, each with a class and a mask."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        model.criterion = RecordingCriterion(model.criterion)
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> (N, Q, K + 1) class logits and (N, Q, h, w) mask logits, in float32."""
        output = self.model(pixel_values=images, **self.inputs(len(images)))
        return output.class_queries_logits.float(), output.masks_queries_logits.float()

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The library's losses, see `RecordingCriterion.take`."""
        criterion = self.model.criterion
        criterion.ignored = torch.stack([target.ignored for target in targets])
        self.model(
            pixel_values=images,
            mask_labels=[target.masks for target in targets],
            class_labels=[target.classes for target in targets],
            **self.inputs(len(images), targets),
        )
        criterion.ignored = None
        return criterion.take()

    def inputs(self, count: int, targets: Sequence[Target] | None = None) -> dict[str, Any]:
        """What else the model wants of a batch of `count` images."""
        return {}


class MaskFormerNetwork(QueryNetwork):
    """MaskFormer, whose losses of its layers need what it does not keep by itself."""

    def inputs(self, count: int, targets: Sequence[Target] | None = None) -> dict[str, Any]:
        """See `QueryNetwork`."""
        return {"output_hidden_states": self.model.config.use_auxiliary_loss}


class OneFormerNetwork(QueryNetwork):
    """OneFormer, which is told its task, and in training what is in the images."""

    task_tokens: Tensor
    class_tokens: Tensor

    def __init__(self, model: Any, *, task: str, labels: Sequence[str], tokenize: Tokenize) -> None:
        """Tokenizes all texts there are.

        Args:
            model: of the library.
            task: what it is told.
            labels: names of the classes.
            tokenize: of the model's own vocabulary.

        Raises:
            ConfigError: the model has fewer tokens than the texts, or no room for them.
        """
        super().__init__(model)
        config = model.config
        _check_texts(config, tokenize)
        self.num_texts = config.num_queries - config.text_encoder_n_ctx
        # In the weights, so that a trained model needs no tokenizer; as floats, which is what the
        # model reads of them, and what averages of weights keep exactly.
        task_tokens = tokenize([task_text(task)], config.task_seq_len).float()
        self.register_buffer("task_tokens", task_tokens)
        texts = class_texts(task, labels)
        class_tokens = tokenize(texts, config.text_encoder_context_length)
        self.register_buffer("class_tokens", class_tokens, persistent=False)
        # A plain list in the library: its layers, which there are if conv_dim is not hidden_dim,
        # would neither be trained nor saved.
        module = model.model.transformer_module
        module.input_projections = nn.ModuleList(module.input_projections)
        self.has_contrast = bool(config.is_training)
        if not self.has_contrast:
            # A part of the contrast, which would never learn.
            model.criterion.inner.logit_scale = None

    def inputs(self, count: int, targets: Sequence[Target] | None = None) -> dict[str, Any]:
        """See `QueryNetwork`."""
        # By this attribute the library decides whether it reads texts, which only training has.
        self.model.model.is_training = self.has_contrast and targets is not None
        inputs = {"task_inputs": self.task_tokens.expand(count, -1)}
        if self.has_contrast and targets is not None:
            inputs["text_inputs"] = torch.stack([self._texts(t.classes) for t in targets])
        return inputs

    def _texts(self, classes: Tensor) -> Tensor:
        """(num_texts, L) tokens: a text for each object, if there is room, then empty ones."""
        chosen = classes.new_zeros(self.num_texts)
        shown = classes[: self.num_texts] + 1
        chosen[: len(shown)] = shown
        return self.class_tokens[chosen]


def _check_texts(config: Any, tokenize: Tokenize) -> None:
    """Refuses what the library would fail at in the first iteration."""
    if isinstance(tokenize, WordTokenizer) and config.text_encoder_vocab_size < tokenize.size:
        raise ConfigError(
            f"MODEL.HUGGING_FACE.CONFIG.text_encoder_vocab_size is"
            f" {config.text_encoder_vocab_size}, but the names of the classes have"
            f" {tokenize.size} words; write that number or a larger one"
        )
    if config.is_training and config.text_encoder_width != config.hidden_dim:
        raise ConfigError(
            f"MODEL.HUGGING_FACE.CONFIG: text_encoder_width is {config.text_encoder_width} and"
            f" hidden_dim {config.hidden_dim}; queries and texts are compared, so write one"
            " number for both, or contrastive_weight 0 for no texts"
        )
    if config.num_queries <= config.text_encoder_n_ctx:
        raise ConfigError(
            f"MODEL.HUGGING_FACE.CONFIG: num_queries is {config.num_queries}, of which"
            f" text_encoder_n_ctx {config.text_encoder_n_ctx} have no text; more queries or"
            " fewer of the other are needed"
        )
