"""The distribution: version ranges for any environment; constraints.txt pins what is tested."""

import re
from pathlib import Path

from setuptools import find_packages, setup

# Detectron2 is not listed: no index carries it under its own name. `make setup` installs a pinned
# copy; in an environment of your own, install it from its source (see README.md).
REQUIRES = [
    "torch>=2.10",  # older ones read weights files unsafely (CVE-2026-24747)
    "torchvision>=0.25",
    "numpy>=2,<3",
    "safetensors>=0.5",  # weights that no program can run code by
    "Pillow>=12.1.1",  # older ones write out of bounds (CVE-2026-25990)
    "PyYAML>=6",
    "pycocotools>=2.0.8",
    "faster-coco-eval>=1.6.5",
    "opencv-python-headless>=4.10",
    "imagehash>=4.3",  # near duplicates between splits
    "tifffile>=2025.5",  # images of more than four channels
    "matplotlib>=3.8",
    "fvcore>=0.1.5.post20221221",
    "iopath>=0.1.9",
    "tabulate>=0.9",
    "tensorboard>=2.16",
    "tqdm>=4.60",
    # What Detectron2 imports besides these; an installed one has brought them along.
    "cloudpickle>=2",
    "hydra-core>=1.1",
    "omegaconf>=2.1,<2.4",
    "packaging",
    "termcolor>=1.1",
    "yacs>=0.1.8",
]
EXTRAS = {
    "demo": ["scikit-learn>=1.5"],  # the handwritten digits of the built-in data set
    # Systems of other libraries; nothing else needs them.
    "zoo": [
        "scikit-image>=0.25",  # watershed
        "segmentation-models-pytorch>=0.5",
        "timm>=1.0.15",
        "transformers>=5",
    ],
    "dev": ["hypothesis>=6.100", "mypy>=1.11", "pytest>=8", "pytest-xdist>=3.6", "ruff>=0.9"],
}
EXTRAS["all"] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})

PACKAGE = Path(__file__).resolve().parent / "project" / "__init__.py"
(VERSION,) = re.findall(r'^__version__ = "(.+)"$', PACKAGE.read_text("utf-8"), re.MULTILINE)

setup(
    name="MaskUNet",
    version=VERSION,
    description="Mask R-CNN and U-Net on Detectron2, from one config, honestly scored",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["project", "project.*"]),
    install_requires=REQUIRES,
    extras_require=EXTRAS,
)
