"""Random changes of training images: what Detectron2 has, and what it lacks."""
