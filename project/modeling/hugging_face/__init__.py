"""Segmentation models of the library transformers, behind Detectron2's interface."""
