"""The stages of a backbone, by the names of its parameters."""

import re
from collections.abc import Iterable

# A stage ends with the first number behind one of these words. The names are those of our U-Net
# encoder, of Detectron2's ResNets, of timm's networks and of transformers.
_STAGE = re.compile(r"\.(?:stages?|layers?|blocks?|res|features)[._]?\d+(?=\.)")
_BACKBONE = re.compile(r"^(?:backbone|model)\.")
# What a backbone adds behind its stages; it counts with the heads.
_BEHIND = re.compile(r"\.(?:fpn_|top_block|decode|head)")


def stages_of(names: Iterable[str]) -> dict[str, str]:
    """The stage that each parameter of a backbone lies in.

    Between two stages and behind the last one parameters belong to the stage before them, such as
    HRNet's transitions.

    Args:
        names: of all parameters of a model, in its own order, which is that from the image on.

    Returns:
        Name -> name of the module that is the stage, "" before the first (stem, embedding), in the
        same order; without what is not of the backbone.
    """
    found: dict[str, str] = {}
    stage = ""
    for name in names:
        if _BACKBONE.match(name) and not _BEHIND.search(name):
            match = _STAGE.search(name)
            stage = name[: match.end()] if match else stage
            found[name] = stage
    return found
