"""Learning rates that fall towards the input of the backbone."""

from collections.abc import Sequence

from project.engine.stages import stages_of
from project.errors import ConfigError


def layer_factors(names: Sequence[str], decay: float) -> dict[str, float]:
    """Factors of the learning rate, after Clark et al. 2020 (arXiv:2003.10555).

    Heads have 1, the last stage of the backbone `decay`, the one before it decay^2, and so on; what
    stands before the first stage is one further still. See `project.engine.stages`.

    Args:
        names: of all parameters of a model, in its own order.
        decay: above 0, up to 1.

    Raises:
        ConfigError: a decay out of these limits, or no stages are known by these names.
    """
    if not 0 < decay <= 1:
        raise ConfigError(f"SOLVER.LAYER_DECAY: expected above 0 and up to 1, found {decay}")
    if decay == 1:
        return dict.fromkeys(names, 1.0)
    stages = stages_of(names)
    order = list(dict.fromkeys(stage for stage in stages.values() if stage))
    if len(order) < 2:
        raise ConfigError(
            f"SOLVER.LAYER_DECAY is {decay}, but this backbone has no numbered stages that are"
            f" known; its parameters are called {[*stages, *names][:3]}; set it to 1"
        )
    steps = {"": len(order) + 1, **{s: len(order) - i for i, s in enumerate(order)}}
    return {name: decay ** steps[stages[name]] if name in stages else 1.0 for name in names}
