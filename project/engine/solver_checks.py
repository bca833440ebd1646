"""Numbers of SOLVER and names of scores that would be found wrong late, or never."""

from detectron2.config import CfgNode

from project.engine.memory import check_compiler
from project.engine.optim import PLATEAU
from project.engine.validation import VALIDATION_LOSS
from project.errors import ConfigError
from project.evaluation.build import metric_names
from project.layers.blocks import check_choice


def check_solver(cfg: CfgNode) -> None:
    """Checks numbers of a training.

    Raises:
        ConfigError: the key, what it holds and what it may hold.
    """
    solver = cfg.SOLVER
    if solver.WARMUP_ITERS >= solver.MAX_ITER:
        raise ConfigError(
            f"SOLVER.WARMUP_ITERS is {solver.WARMUP_ITERS} and SOLVER.MAX_ITER {solver.MAX_ITER}:"
            " the learning rate would never leave its warm-up; write also SOLVER.WARMUP_ITERS"
            f" {solver.MAX_ITER // 20}"
        )
    if solver.ACCUMULATE < 1 or solver.IMS_PER_BATCH % solver.ACCUMULATE:
        raise ConfigError(
            f"SOLVER.ACCUMULATE is {solver.ACCUMULATE}, the parts into which each batch is cut: it"
            f" must divide SOLVER.IMS_PER_BATCH, which is {solver.IMS_PER_BATCH}"
        )
    if solver.AUTO_SCALE_LR.ENABLED and solver.AUTO_SCALE_LR.REFERENCE_BATCH < 1:
        raise ConfigError("SOLVER.AUTO_SCALE_LR.REFERENCE_BATCH must be at least 1")
    if solver.AUTO_SCALE_LR.ENABLED and solver.REFERENCE_WORLD_SIZE > 0:
        raise ConfigError(
            "SOLVER.AUTO_SCALE_LR and SOLVER.REFERENCE_WORLD_SIZE both scale the learning rate;"
            " turn one off"
        )
    if solver.RANK_PATIENCE < 0:
        raise ConfigError(
            f"SOLVER.RANK_PATIENCE is {solver.RANK_PATIENCE}; write seconds, or 0 to wait for ever"
        )
    check_compiler(cfg)
    if solver.LR_SCHEDULER_NAME == PLATEAU:
        _check_follower(cfg, "PLATEAU", solver.PLATEAU)
        if not 0 < solver.PLATEAU.FACTOR < 1:
            raise ConfigError(
                f"SOLVER.PLATEAU.FACTOR: expected between 0 and 1, found {solver.PLATEAU.FACTOR}"
            )
    if solver.EARLY_STOPPING.PATIENCE > 0:
        _check_follower(cfg, "EARLY_STOPPING", solver.EARLY_STOPPING)


def check_scored(cfg: CfgNode) -> None:
    """Checks, when the data sets are known, that what waits for scores will get some.

    Raises:
        ConfigError: there are no images to score on.
    """
    solver = cfg.SOLVER
    waiting = {
        "SOLVER.PLATEAU": solver.LR_SCHEDULER_NAME == PLATEAU,
        "SOLVER.EARLY_STOPPING": solver.EARLY_STOPPING.PATIENCE > 0,
        "TEST.VALIDATION_LOSS_IMAGES": cfg.TEST.VALIDATION_LOSS_IMAGES > 0,
    }
    needs = [key for key, waits in waiting.items() if waits]
    if needs and not cfg.DATASETS.TEST:
        raise ConfigError(
            f"{' and '.join(needs)}: there are no images to score on; give a data set with the"
            " split val, or DATASETS.TEST"
        )


def check_metrics(cfg: CfgNode) -> None:
    """Checks the name of the score that decides which checkpoint is the best.

    Raises:
        ConfigError: a model like this has no such score.
    """
    metrics = ["auto", *metric_names(cfg)]
    check_choice("TEST.BEST_METRIC of this model", cfg.TEST.BEST_METRIC, metrics)


def _check_follower(cfg: CfgNode, name: str, node: CfgNode) -> None:
    if cfg.TEST.EVAL_PERIOD < 1:
        raise ConfigError(
            f"SOLVER.{name} waits for scores, which TEST.EVAL_PERIOD {cfg.TEST.EVAL_PERIOD} leaves"
            " to the end of the training; set it, for example to"
            f" {max(1, cfg.SOLVER.MAX_ITER // 20)}"
        )
    if node.PATIENCE < 1 or node.MIN_DELTA < 0:
        raise ConfigError(
            f"SOLVER.{name}: expected PATIENCE of at least 1 and MIN_DELTA of at least 0, found"
            f" {node.PATIENCE} and {node.MIN_DELTA}"
        )
    if node.METRIC == VALIDATION_LOSS and cfg.TEST.VALIDATION_LOSS_IMAGES < 1:
        raise ConfigError(
            f"SOLVER.{name}.METRIC is {VALIDATION_LOSS}, which TEST.VALIDATION_LOSS_IMAGES 0"
            " leaves out; set that to a number of images, such as 200"
        )
    known = ["auto", VALIDATION_LOSS, *metric_names(cfg)]
    check_choice(f"SOLVER.{name}.METRIC of this model", node.METRIC, known)
