"""One entry for one process, for ranks that we start, and for ranks that torchrun started."""

import gc
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist

# Its functions have the group of all ranks as a default argument, taken when they are defined: read
# after the group was made, they would keep it for ever (see `_leave`).
import torch.distributed.nn
import torch.multiprocessing as mp
from detectron2.utils import comm
from torch.multiprocessing.spawn import ProcessException

from project.engine.signals import Interrupted, SignalCatcher
from project.errors import ConfigError, UserError

# Scoring a large data set on the main rank keeps the others waiting.
_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class _Group:
    """The ranks that train together.

    Attributes:
        device: MODEL.DEVICE.
        local_size: ranks on this machine.
        size: ranks on all machines.
        first: number of this machine's first rank.
        url: where they meet.
    """

    device: str
    local_size: int
    size: int
    first: int
    url: str


def launch(
    function: Callable[..., None], args: Namespace, function_args: tuple[Any, ...], *, device: str
) -> None:
    """Calls `function(*function_args)` on every rank of this machine.

    Under torchrun the ranks exist already and `--num-gpus` is not used. Otherwise `--num-gpus`
    ranks are started on each of `--num-machines` machines. Ranks on GPUs talk through NCCL, CPU
    ranks through gloo: Detectron2's launch would take NCCL wherever there is a GPU.

    Args:
        function: the work of one rank.
        args: `--num-gpus`, `--num-machines`, `--machine-rank` and `--dist-url`.
        function_args: its arguments.
        device: MODEL.DEVICE, resolved.

    Raises:
        ConfigError: the ranks cannot be placed on this machine's GPUs, or have nowhere to meet.
        UserError: one of the ranks raised it; the others are stopped.
        Interrupted: the ranks ended by a signal, which is passed on to them.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _check_devices(device, int(os.environ["LOCAL_WORLD_SIZE"]), "torchrun")
        _run_under_torchrun(function, function_args, device)
        return
    ranks = max(args.num_gpus, 1)
    _check_devices(device, ranks, f"--num-gpus {ranks}")
    if ranks * args.num_machines == 1:
        function(*function_args)
        return
    if not _on_gpu(device):
        # Every rank would otherwise start as many threads as there are cores.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    group = _Group(
        device=device,
        local_size=ranks,
        size=ranks * args.num_machines,
        first=ranks * args.machine_rank,
        url=_meeting_point(args),
    )
    _start(group, function, function_args)


def is_first(args: Namespace) -> bool:
    """Whether this process is, or will start, the rank that writes the files of the run."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return os.environ["RANK"] == "0"
    return bool(args.machine_rank == 0)


def _start(group: _Group, function: Callable[..., None], function_args: tuple[Any, ...]) -> None:
    """Starts this machine's ranks and waits for them."""
    errors = mp.get_context("spawn").SimpleQueue()
    ranks = mp.spawn(
        _run_rank, (group, errors, function, function_args), nprocs=group.local_size, join=False
    )
    catcher = SignalCatcher(forward=partial(_tell_all, ranks.pids()))
    catcher.start()
    try:
        while not ranks.join():
            pass
    except ProcessException:
        # What a rank died of may only be that another had gone before.
        if not errors.empty():
            raise errors.get() from None
        raise
    finally:
        catcher.stop()
    if not errors.empty():
        raise errors.get()


def _tell_all(processes: list[int], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError):  # it has ended already
            os.kill(process, number)


def _run_rank(
    local_rank: int,
    group: _Group,
    errors: Any,
    function: Callable[..., None],
    function_args: tuple[Any, ...],
) -> None:
    try:
        _join(
            group.device,
            local_rank,
            group.local_size,
            init_method=group.url,
            world_size=group.size,
            rank=group.first + local_rank,
        )
        # A rank that begins to talk before all are there may run into a timeout.
        comm.synchronize()
        function(*function_args)
    except Interrupted as error:
        errors.put(error)
    except UserError as error:
        errors.put(error)
        sys.exit(1)
    _leave()


def _run_under_torchrun(
    function: Callable[..., None], function_args: tuple[Any, ...], device: str
) -> None:
    _join(device, int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    try:
        function(*function_args)
    finally:
        _leave()


def _join(device: str, local_rank: int, local_size: int, **meeting: Any) -> None:
    """Makes this process a rank; torch reads of torchrun's variables what `meeting` leaves out."""
    if _on_gpu(device):
        torch.cuda.set_device(local_rank)
    backend = "nccl" if _on_gpu(device) else "gloo"
    dist.init_process_group(backend, timeout=_TIMEOUT, **meeting)
    comm.create_local_process_group(local_size)


def _leave() -> None:
    """Leaves the group, and ends the threads that talk for it.

    They end with the last reference to their group, which Detectron2 keeps. One that still holds
    the tensor of the last exchange while the interpreter ends would abort the process.
    """
    dist.destroy_process_group()
    comm._LOCAL_PROCESS_GROUP = None
    comm._get_global_gloo_group.cache_clear()
    # The model of several ranks refers to itself, and to the group.
    gc.collect()


def _on_gpu(device: str) -> bool:
    return torch.device(device).type == "cuda"


def _check_devices(device: str, ranks: int, asked: str) -> None:
    """Checks that every rank gets a GPU of its own, where they are to have one."""
    if ranks == 1 or not _on_gpu(device):
        return
    if torch.device(device).index is not None:
        raise ConfigError(f"MODEL.DEVICE {device} is one GPU for {ranks} ranks; set it to cuda")
    count = torch.cuda.device_count()
    if ranks > count:
        raise ConfigError(
            f"{asked}: {ranks} ranks need a GPU each, and this machine has {count}; for CPU ranks"
            " set MODEL.DEVICE cpu"
        )


def _meeting_point(args: Namespace) -> str:
    if args.dist_url != "auto":
        return args.dist_url
    if args.num_machines > 1:
        raise ConfigError(
            f"--num-machines {args.num_machines} needs --dist-url tcp://HOST:PORT, an address of"
            " the first machine that all reach"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"
