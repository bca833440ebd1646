"""Config keys of the training."""

from detectron2.config import CfgNode


def add_solver_keys(cfg: CfgNode) -> None:
    """Adds PREFLIGHT and keys of SOLVER, in place."""
    # Before a training: one pass of the largest image and of the one with the most objects, and of
    # the largest test image, so that what would fail later fails now. Nothing is learnt from it.
    cfg.PREFLIGHT = True
    # "SGD", "Adam" or "AdamW". MOMENTUM and NESTEROV are SGD's.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # Factor of the learning rate from each stage of the backbone to the one before it, such as 0.8
    # for pretrained transformers; the first stages learn least. 1: all alike.
    cfg.SOLVER.LAYER_DECAY = 1.0
    # BASE_LR is meant for REFERENCE_BATCH images: times IMS_PER_BATCH / REFERENCE_BATCH for SGD
    # (Goyal et al. 2017), its square root for Adam and AdamW (Malladi et al. 2022).
    cfg.SOLVER.AUTO_SCALE_LR = CfgNode({"ENABLED": False, "REFERENCE_BATCH": 16})
    # Parts into which each batch is cut, one after another: less memory, the same gradients where
    # each part has the same share of what the losses average over, but for batch statistics.
    cfg.SOLVER.ACCUMULATE = 1
    # SOLVER.LR_SCHEDULER_NAME also takes "WarmupPolyLR": (1 - progress) ** POLY_POWER, down to
    # BASE_LR_END; "WarmupConstantLR"; and "WarmupReduceOnPlateau".
    cfg.SOLVER.POLY_POWER = 0.9
    # "WarmupReduceOnPlateau": times FACTOR, down to BASE_LR_END, when METRIC has not risen by more
    # than MIN_DELTA for PATIENCE evaluations (TEST.EVAL_PERIOD). METRIC is named as in
    # TEST.BEST_METRIC, or "validation/total_loss", which falls.
    cfg.SOLVER.PLATEAU = CfgNode({"METRIC": "auto", "FACTOR": 0.1, "PATIENCE": 3, "MIN_DELTA": 0.0})
    # Ends the training when METRIC has not risen by more than MIN_DELTA for PATIENCE evaluations;
    # 0: never. The best weights are in model_best.pth.
    cfg.SOLVER.EARLY_STOPPING = CfgNode({"METRIC": "auto", "PATIENCE": 0, "MIN_DELTA": 0.0})
    # "WarmupCosineLR" and "WarmupPolyLR" hold BASE_LR until this share of MAX_ITER.
    cfg.SOLVER.DECAY_START = 0.0
    # Mixed precision in training and in prediction; False, or EXACT, is float32 in both.
    cfg.SOLVER.AMP.ENABLED = True
    # Number format of mixed precision (SOLVER.AMP.ENABLED): "bf16", "fp16" (GPU only) or
    # "auto": fp16 on a GPU, bf16 on a CPU that is quick with it, none on any other CPU.
    cfg.SOLVER.AMP.DTYPE = "auto"
    # Averaged weights: scored and saved in place of the last ones. DECAY 0 is the plain mean since
    # START (share of MAX_ITER); otherwise average = DECAY * average + (1 - DECAY) * weights.
    cfg.SOLVER.EMA = CfgNode({"ENABLED": False, "DECAY": 0.999, "START": 0.0})
    # Steps that may be left out because a loss or a gradient is not finite; one more ends the
    # training. The steps that fp16's loss scaling leaves out are not counted.
    cfg.SOLVER.NONFINITE_SKIPS = 0
    # Periodic checkpoints (CHECKPOINT_PERIOD) that are left, the newest; 0: all. model_best.pth and
    # model_final.pth always stay.
    cfg.SOLVER.CHECKPOINTS_KEPT = 0
    # Seconds that a rank may be stopped, or that no rank of a run on one machine may do anything,
    # before the run ends and says which rank stands still; 0: for ever.
    cfg.SOLVER.RANK_PATIENCE = 40.0
    # Iterations between two lines of progress.
    cfg.SOLVER.LOG_PERIOD = 20
