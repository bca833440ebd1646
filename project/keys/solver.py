"""Config keys of the training."""

from detectron2.config import CfgNode


def add_solver_keys(cfg: CfgNode) -> None:
    """Adds keys of SOLVER, in place."""
    # "SGD" or "AdamW". MOMENTUM and NESTEROV are SGD's.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # SOLVER.LR_SCHEDULER_NAME also takes "WarmupPolyLR": (1 - progress) ** POLY_POWER, down to
    # BASE_LR_END.
    cfg.SOLVER.POLY_POWER = 0.9
    # "WarmupCosineLR" and "WarmupPolyLR" hold BASE_LR until this share of MAX_ITER.
    cfg.SOLVER.DECAY_START = 0.0
    # Number format of mixed precision (SOLVER.AMP.ENABLED): "bf16", "fp16" (GPU only) or
    # "auto": fp16 on a GPU, bf16 on a CPU that is quick with it, none on any other CPU.
    cfg.SOLVER.AMP.DTYPE = "auto"
    # Averaged weights: scored and saved in place of the last ones. DECAY 0 is the plain mean since
    # START (share of MAX_ITER); otherwise average = DECAY * average + (1 - DECAY) * weights.
    cfg.SOLVER.EMA = CfgNode({"ENABLED": False, "DECAY": 0.999, "START": 0.0})
    # Iterations between two lines of progress.
    cfg.SOLVER.LOG_PERIOD = 20
