"""One small trained model for all tests of inference."""

from dataclasses import dataclass
from pathlib import Path

import pytest

import factories
from tool_runner import TINY

# Enough to be right here and wrong there, which random weights and perfect ones are not.
TRAINING = {
    "SOLVER.MAX_ITER": "50",
    "SOLVER.OPTIMIZER": "AdamW",
    "SOLVER.WARMUP_ITERS": "5",
    "SOLVER.IMS_PER_BATCH": "4",
    "SOLVER.CHECKPOINT_PERIOD": "1000",
    "TEST.EVAL_PERIOD": "0",
}


@dataclass(frozen=True)
class Trained:
    """A data set and the folder of a run on it."""

    spec: Path
    run_dir: Path

    @property
    def weights(self) -> Path:
        return self.run_dir / "model_final.pth"

    @property
    def words(self) -> list[str]:
        """What the tools need to know."""
        return ["--config-file", str(TINY), "--dataset", str(self.spec)]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trains on six images of squares and rings, with crowds, in a few seconds."""
    from project.data.register import unregister_dataset
    from project.engine.setup import prepare_config, start_run
    from project.engine.trainer import Trainer

    root = tmp_path_factory.mktemp("trained")
    spec = factories.make_coco(root / "data", segmentation="mixed", holes=True, crowd=True)
    keys = {**TRAINING, "OUTPUT_DIR": str(root / "run")}
    words = [word for pair in keys.items() for word in pair]
    cfg = prepare_config(TINY, spec, words, purpose="train")
    start_run(cfg)
    trainer = Trainer(cfg)
    trainer.train()
    trainer.checkpointer.save("model_final")
    unregister_dataset(*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)
    return Trained(spec, root / "run")
