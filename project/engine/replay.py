"""A training step that was not finite, once more: which layer the first such number comes from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

import project.modeling  # noqa: F401  (registers the parts that a config names)
from project.data.randomness import Stream, derived_seed, seed_all
from project.engine.batch_file import from_plain
from project.engine.choices import check_choices
from project.engine.described_config import written_config
from project.engine.weights_files import read_weights_file
from project.errors import ConfigError, WeightsError
from project.modeling.precision import amp_dtype
from project.modeling.quick import quicken

_NEEDED = {"config", "seed", "iteration", "rank", "losses", "gradient_norm", "batch", "model"}


@dataclass
class Replay:
    """What one step gave.

    Attributes:
        iteration: its number.
        images: their names.
        weights: weights and statistics that were not finite before the step.
        layers: whose output was the first that was not finite, in the order of the computation.
        losses: by name.
        gradient_norm: of all gradients together, of this rank alone.
        gradients: weights whose gradient was not finite.
        then: losses and gradient norm as they were in the training.
    """

    iteration: int
    images: list[str]
    weights: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    losses: dict[str, float] = field(default_factory=dict)
    gradient_norm: float = 0.0
    gradients: list[str] = field(default_factory=list)
    then: dict[str, float] = field(default_factory=dict)


def replay(path: Path, device: str = "cpu") -> Replay:
    """Runs the step of a file that `project.engine.nonfinite` wrote, without changing any weight.

    Args:
        path: the file.
        device: to run on.

    Raises:
        WeightsError: the file is missing, damaged or another kind of file.
    """
    content = _read(path)
    try:
        cfg = written_config(content["config"])
        cfg.MODEL.DEVICE = device
        check_choices(cfg, "predict")
        model = build_model(cfg).train()
        quicken(cfg, model)  # as the trainer does: its parts draw the samples
        model.load_state_dict(content["model"])
        batch = from_plain(content["batch"])
    except (ConfigError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        first = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise WeightsError(
            f"{path}: its step cannot be taken again ({first}); name a nonfinite_*.pth that a"
            " training of this version wrote"
        ) from error
    found = Replay(
        iteration=content["iteration"],
        images=[str(item.get("file_name")) for item in batch],
        weights=_not_finite({**dict(model.named_parameters()), **_statistics(model)}),
        then={**content["losses"], "gradient norm": content["gradient_norm"]},
    )
    _watch(model, found.layers)
    seed_all(derived_seed(content["seed"], Stream.STEP, content["iteration"], content["rank"]))
    dtype = amp_dtype(cfg)
    autocast = torch.autocast(torch.device(device).type, dtype, enabled=dtype is not None)
    with EventStorage(found.iteration), autocast:
        losses: dict[str, torch.Tensor] = model(batch)
    torch.stack(list(losses.values())).sum().backward()
    found.losses = {name: float(value.detach()) for name, value in losses.items()}
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    found.gradients = _not_finite(gradients)
    found.gradient_norm = float(nn.utils.get_total_norm(gradients.values()))
    return found


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; trainings write nonfinite_*.pth in OUTPUT_DIR")
    content = read_weights_file(str(path))
    missing = sorted(_NEEDED - content.keys())
    if missing:
        raise WeightsError(
            f"{path}: it holds no training step ({', '.join(missing)} missing); name a"
            " nonfinite_*.pth that a training wrote into its OUTPUT_DIR"
        )
    return content


def _watch(model: nn.Module, layers: list[str]) -> None:
    """Notes the innermost modules whose output is not finite though their inputs are."""

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if _is_finite(inputs) and not _is_finite(output):
                layers.append(f"{name} ({type(module).__name__})")

        return hook

    for name, module in model.named_modules():
        if not any(module.children()):
            module.register_forward_hook(note(name))


def _is_finite(values: Any) -> bool:
    if isinstance(values, torch.Tensor):
        return bool(torch.isfinite(values).all())
    if isinstance(values, dict):
        return all(map(_is_finite, values.values()))
    return all(map(_is_finite, values)) if isinstance(values, (list, tuple)) else True


def _statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: b for name, b in model.named_buffers() if "running_" in name}


def _not_finite(tensors: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if not _is_finite(tensor.detach())]
