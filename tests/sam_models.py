"""Models of Segment Anything with random weights, small enough for tests, as folders."""

from pathlib import Path

import torch

_SIDE = 64
_DECODER = {"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16}


def save_sam(folder: Path) -> Path:
    """SAM, for squares of 64 pixels."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    vision = {"hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2, "patch_size": 8}
    vision |= {"num_attention_heads": 2, "image_size": _SIDE, "window_size": 4, "mlp_dim": 16}
    vision |= {"global_attn_indexes": [1], "num_pos_feats": 8}
    prompt = {"hidden_size": 16, "image_size": _SIDE, "patch_size": 8, "mask_input_channels": 4}
    torch.manual_seed(0)
    config = SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=_DECODER
    )
    SamModel(config).save_pretrained(folder)
    pad = {"height": _SIDE, "width": _SIDE}
    SamProcessor(SamImageProcessor(size={"longest_edge": _SIDE}, pad_size=pad)).save_pretrained(
        folder
    )
    return folder


def save_sam2(folder: Path) -> Path:
    """SAM 2, for squares of 64 pixels."""
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor

    backbone = {"model_type": "sam2_hiera_det_model", "hidden_size": 8, "image_size": [_SIDE] * 2}
    backbone |= {"blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64]}
    backbone |= {"num_attention_heads_per_stage": [1, 1, 2, 2], "global_attention_blocks": [3]}
    backbone |= {"window_size_per_stage": [8, 8, 4, 4]}
    backbone |= {"window_positional_embedding_background_size": [4, 4]}
    vision = {"backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8]}
    vision |= {"backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": 16}
    prompt = {"hidden_size": 16, "image_size": _SIDE, "patch_size": 16, "mask_input_channels": 4}
    torch.manual_seed(0)
    config = Sam2Config(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=_DECODER
    )
    Sam2Model(config).save_pretrained(folder)
    size = {"height": _SIDE, "width": _SIDE}
    Sam2Processor(Sam2ImageProcessor(size=size)).save_pretrained(folder)
    return folder


SAVE = {"sam": save_sam, "sam2": save_sam2}
