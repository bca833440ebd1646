"""Segmentation on Detectron2: see README.md. Importing this alone loads nothing."""

__version__ = "0.1.0"
