"""One entry for one process, for ranks that we start, and for ranks that torchrun started."""

import gc
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# Its functions have the group of all ranks as a default argument, taken when they are defined: read
# after the group was made, they would keep it for ever (see `_leave`).
import torch.distributed.nn
from detectron2.utils import comm

from project.cli import quiet_libraries
from project.engine.ranks import Ranks, Report, end_children_with_this_process
from project.engine.watch import PATIENCE, RankWatch
from project.errors import ConfigError, RankError

# Scoring a large data set on the main rank keeps the others waiting; `RankWatch` is quicker to find
# what stands still.
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
        patience: see `launch`.
    """

    device: str
    local_size: int
    size: int
    first: int
    url: str
    patience: float


def launch(
    function: Callable[..., None],
    args: Namespace,
    function_args: tuple[Any, ...],
    *,
    device: str,
    patience: float = PATIENCE,
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
        patience: seconds that a rank may be stopped, or that no rank may work; 0: for ever.

    Raises:
        ConfigError: the ranks cannot be placed on this machine's GPUs, or have nowhere to meet.
        UserError: one of the ranks raised it; the others are stopped.
        Interrupted: the ranks ended by a signal, which is passed on to them.
        RankError: one of the ranks ended in silence, or stood still; the others are stopped.
        RuntimeError: one of the ranks raised something else; the others are stopped.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        _check_devices(device, int(os.environ["LOCAL_WORLD_SIZE"]), "torchrun")
        _run_under_torchrun(function, function_args, device, patience)
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
        patience=patience,
    )
    Ranks(group.local_size, _run_rank, (group, function, function_args)).join()


def is_first(args: Namespace) -> bool:
    """Whether this process is, or will start, the rank that writes the files of the run."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return os.environ["RANK"] == "0"
    return bool(args.machine_rank == 0)


def _run_rank(
    local_rank: int,
    report: Report,
    group: _Group,
    function: Callable[..., None],
    function_args: tuple[Any, ...],
) -> None:
    quiet_libraries()
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
    with _watched(group.local_size, group.patience, lambda text: report.send(RankError(text))):
        function(*function_args)
    _leave()


def _run_under_torchrun(
    function: Callable[..., None], function_args: tuple[Any, ...], device: str, patience: float
) -> None:
    local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    _join(device, int(os.environ["LOCAL_RANK"]), local_size)
    try:
        with _watched(local_size, patience, lambda text: print(text, file=sys.stderr, flush=True)):
            function(*function_args)
    finally:
        _leave()


@contextmanager
def _watched(local_size: int, patience: float, tell: Callable[[str], None]) -> Iterator[None]:
    """Within, this machine's ranks look at each other; see `RankWatch`."""
    end_children_with_this_process()
    processes = dict(comm.all_gather((comm.get_rank(), os.getpid())))
    first = comm.get_rank() - comm.get_local_rank()
    local = {rank: processes[rank] for rank in range(first, first + local_size)}
    if patience <= 0 or len(processes) == 1 or sys.platform != "linux":
        yield
        return
    whole = len(local) == len(processes)
    watch = RankWatch(comm.get_rank(), local, whole=whole, patience=patience, tell=tell)
    watch.start()
    try:
        yield
    finally:
        watch.stop()


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
