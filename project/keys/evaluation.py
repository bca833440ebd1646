"""Config keys of scoring."""

from detectron2.config import CfgNode


def add_evaluation_keys(cfg: CfgNode) -> None:
    """Adds keys of TEST, in place."""
    # Who computes COCO's numbers: "streamed", image by image, which keeps no mask; or, to compare,
    # "faster-coco-eval" or "pycocotools", which hold those of all images. They agree to 1e-9.
    cfg.TEST.COCO_BACKEND = "streamed"
    # Detections an image that are scored; COCO's own numbers are defined with 100.
    cfg.TEST.COCO_MAX_DETECTIONS = 100
    # The score whose best checkpoint is kept as model_best.pth, as "task/metric" in results.json,
    # e.g. "segm/AP". "auto": the first there of panoptic_seg/PQ, segm/AP, sem_seg/mIoU, bbox/AP.
    cfg.TEST.BEST_METRIC = "auto"
    # Scores the masks' boundaries too (Boundary IoU, Cheng et al. 2021), as task "boundary".
    cfg.TEST.BOUNDARY = False
    # Scores instances pasted into a label map as "sem_seg_from_instances", and the regions of a
    # label map as instances, "segm_from_sem_seg": Mask R-CNN and U-Net in one table.
    cfg.TEST.CROSS_TASKS = False
    # Confusion matrix of instances: a pair fits from this IoU on, a detection counts from this
    # score on. From that score on instances are also pasted into label maps.
    cfg.TEST.CONFUSION_IOU = 0.5
    cfg.TEST.CONFIDENCE = 0.5
    # The class of label maps whose connected regions are segments, e.g. the inside of cells that
    # membranes part: adds the Rand scores VRand and ARE to "sem_seg". "": none.
    cfg.TEST.RAND_FOREGROUND = ""
    # Resamples of the images for the 95 % intervals of the final scores; 0: no intervals.
    cfg.TEST.BOOTSTRAP = 1000
    # Images of the first test set whose training losses are measured before each evaluation, as
    # "validation/..." in metrics.json and the report; 0: none.
    cfg.TEST.VALIDATION_LOSS_IMAGES = 0
    # Images in the report for each of worst, median and best; 0: no pictures.
    cfg.TEST.REPORT_IMAGES = 3
