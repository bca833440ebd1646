"""Every config key that this project adds, by subject, each with its comment."""

from detectron2.config import CfgNode

from project.keys.data import add_data_keys
from project.keys.dense_instances import add_dense_instance_keys
from project.keys.evaluation import add_evaluation_keys
from project.keys.heads import add_roi_keys, add_semantic_head_keys
from project.keys.libraries import add_hugging_face_keys, add_timm_keys
from project.keys.model import add_model_keys
from project.keys.solver import add_solver_keys
from project.keys.testing import add_testing_keys


def add_project_config(cfg: CfgNode) -> None:
    """Adds this project's keys and defaults to a Detectron2 config, in place."""
    add_data_keys(cfg)
    add_model_keys(cfg)
    add_semantic_head_keys(cfg)
    add_roi_keys(cfg)
    add_timm_keys(cfg)
    add_hugging_face_keys(cfg)
    add_dense_instance_keys(cfg)
    add_solver_keys(cfg)
    add_evaluation_keys(cfg)
    add_testing_keys(cfg)
