"""One entry for one process, for ranks that we start, and for ranks that torchrun started."""

import os
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from detectron2.engine import launch as detectron2_launch
from detectron2.utils import comm

from project.errors import ConfigError


def launch(function: Callable[..., None], args: Namespace, function_args: tuple[Any, ...]) -> None:
    """Calls `function(*function_args)` on every rank of this machine.

    Under torchrun the ranks exist already and `--num-gpus` is not used. Otherwise `--num-gpus`
    ranks are started on each of `--num-machines` machines: on their GPUs with NCCL, or, on a
    machine without any, as CPU processes with gloo.

    Raises:
        ConfigError: more ranks are asked for than this machine has GPUs.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _run_under_torchrun(function, function_args)
        return
    gpus = torch.cuda.device_count()
    if 0 < gpus < args.num_gpus:
        raise ConfigError(f"--num-gpus {args.num_gpus}: this machine has {gpus}")
    ranks = max(args.num_gpus, 1)
    if ranks > 1 and not gpus:
        # Every rank would otherwise start as many threads as there are cores.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    detectron2_launch(
        function,
        ranks,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=function_args,
    )


def _run_under_torchrun(function: Callable[..., None], function_args: tuple[Any, ...]) -> None:
    local_rank = int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    comm.create_local_process_group(int(os.environ["LOCAL_WORLD_SIZE"]))
    try:
        function(*function_args)
    finally:
        dist.destroy_process_group()
