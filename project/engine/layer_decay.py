"""Learning rates that fall towards the input of the backbone."""

import re
from collections.abc import Sequence

from project.errors import ConfigError

# Where a backbone's parameter is: in its stem, or in the stage or block of a number. The names are
# those of our U-Net encoder, of Detectron2's ResNets, of timm's networks and of transformers.
_STAGES = re.compile(r"\.(?:stages?[._]?|res|layers?[._]?|blocks?[._]|features\.)(\d+)")
_BACKBONE = re.compile(r"^(?:backbone|model)\.")
# What a backbone adds behind its stages; it learns like the heads.
_BEHIND = re.compile(r"\.(?:fpn_|top_block|decode|head)")


def layer_factors(names: Sequence[str], decay: float) -> dict[str, float]:
    """Factors of the learning rate, after Clark et al. 2020 (arXiv:2003.10555).

    Heads have 1, the last stage of the backbone `decay`, the one before it decay^2, and so on; what
    stands before the first stage is one further still.

    Args:
        names: of all parameters of a model.
        decay: above 0, up to 1.

    Raises:
        ConfigError: a decay out of these limits, or no stages are known by these names.
    """
    if not 0 < decay <= 1:
        raise ConfigError(f"SOLVER.LAYER_DECAY: expected above 0 and up to 1, found {decay}")
    if decay == 1:
        return dict.fromkeys(names, 1.0)
    inside = [n for n in names if _BACKBONE.match(n) and not _BEHIND.search(n)]
    stages = {name: int(m[1]) for name in inside if (m := _STAGES.search(name))}
    order = sorted(set(stages.values()))
    if len(order) < 2:
        raise ConfigError(
            f"SOLVER.LAYER_DECAY is {decay}, but this backbone has no numbered stages that are"
            f" known; its parameters are called {inside[:3] or list(names)[:3]}; set it to 1"
        )
    depth = {number: len(order) - index for index, number in enumerate(order)}
    return {
        name: decay ** depth.get(stages.get(name, -1), len(order) + 1) if name in inside else 1.0
        for name in map(str, names)
    }
