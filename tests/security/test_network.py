"""The network is shut without --allow-download; with it https alone, and a digest is kept."""

import hashlib
import io
import os
import socket
import urllib.request
from email.message import Message
from pathlib import Path

import pytest
import torch
from detectron2.utils.file_io import PathManager

import factories
from project import network
from project.engine.addresses import local_weights
from project.errors import NetworkError, WeightsError
from project.network import cached_path, fetch, hub_folder, set_downloads
from tool_runner import TINY, load_tool, run_process

URL = "https://host.invalid/models/a.pkl"
FETCHING = ("train_net", "predict", "visualize_data", "label_with_sam", "report")


class Answer(io.BytesIO):
    """What a server sends."""

    def __init__(self, content: bytes, length: int | None = None) -> None:
        super().__init__(content)
        self.headers = Message()
        self.headers["Content-Length"] = str(len(content) if length is None else length)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch) -> list[str]:
    """The addresses that were fetched; each answers with its own text."""
    asked: list[str] = []

    def answer(url: str) -> Answer:
        asked.append(url)
        return Answer(url.encode())

    monkeypatch.setattr(network, "_open", answer)
    return asked


@pytest.mark.parametrize("allowed", [None, False])
def test_nothing_is_fetched_unless_it_is_allowed(allowed, server):
    set_downloads(allowed)
    with pytest.raises(NetworkError, match=rf"{URL}.*--allow-download"):
        fetch(URL)
    for address in (URL, "detectron2://a/b.pkl"):
        with pytest.raises(WeightsError, match="--allow-download"):
            local_weights(address)
    assert not server


def test_a_digest_is_kept_and_compared(server):
    set_downloads(True)
    path = fetch(URL)
    assert path.read_text() == URL and path.suffix == ".pkl"
    kept = path.with_name("a.pkl.sha256").read_text()
    assert kept == f"{hashlib.sha256(URL.encode()).hexdigest()}  a.pkl\n"
    set_downloads(False)
    assert fetch(URL) == path and len(server) == 1  # what is here needs no network
    path.write_text("something else")
    for allowed in (False, True):
        set_downloads(allowed)
        with pytest.raises(NetworkError, match=f"{path}: its content is not"):
            fetch(URL)
    path.with_name("a.pkl.sha256").unlink()  # without it the file proves nothing
    assert fetch(URL).read_text() == URL and len(server) == 2


def test_addresses_never_share_a_file_nor_leave_the_cache(server, cache):
    set_downloads(True)
    addresses = [
        *(URL, "https://other.invalid/models/a.pkl", "https://host.invalid:81/models/a.pkl"),
        *(f"{URL}?b=1", "https://host.invalid/../../../../escape/a.pkl", "https://../a.pkl"),
        *("https://host.invalid/..%2f..%2fa.pkl", "https://host.invalid/%2e%2e", "https://h/.."),
    ]
    paths = [fetch(address) for address in addresses]
    assert len(set(paths)) == len(addresses)
    assert [path.read_text() for path in paths] == addresses
    assert all(path.resolve().is_relative_to(cache.resolve()) for path in paths)


@pytest.mark.parametrize(
    "url",
    [
        *("http://host.invalid/a.pkl", "ftp://host.invalid/a.pkl", "file:///etc/passwd"),
        *("https:///a.pkl", "https://host.invalid/", "HTTP://host.invalid/a", "a.pkl"),
    ],
)
def test_only_https_is_fetched(url, server):
    set_downloads(True)
    with pytest.raises(NetworkError, match="only files at https"):
        fetch(url)
    assert not server


def test_an_answer_may_not_send_elsewhere():
    handler = network._HttpsOnly()
    request = urllib.request.Request(URL)
    words = (request, io.BytesIO(), 302, "Found", Message())
    assert handler.redirect_request(*words, "https://other.invalid/b").full_url.endswith("/b")
    for url in ("http://host.invalid/a.pkl", "file:///etc/passwd", "ftp://host.invalid/a"):
        with pytest.raises(NetworkError, match="only files at https"):
            handler.redirect_request(*words, url)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda url: Answer(b"half", 9), "4 of 9 bytes"),
        (lambda url: Answer(b""), "0 of"),
        (lambda url: (_ for _ in ()).throw(OSError("no route")), "no route.*without internet"),
    ],
)
def test_what_did_not_come_whole_is_not_kept(answer, reason, monkeypatch, cache):
    monkeypatch.setattr(network, "_open", answer)
    set_downloads(True)
    with pytest.raises(NetworkError, match=reason):
        fetch(URL)
    assert not cached_path(URL).exists()
    assert not [p for p in cache.rglob("*") if p.is_file() and p.suffix != ".sha256"]


@pytest.mark.parametrize("prefix", ["http://", "ftp://", "https://", "https://1drv.ms/u/s!"])
def test_detectron2_has_no_way_of_its_own(prefix, monkeypatch):
    def fail(*words, **more):
        raise AssertionError("Detectron2 fetched it itself")

    monkeypatch.setattr("iopath.common.download.request.urlretrieve", fail)
    for ask in (PathManager.get_local_path, PathManager.open):
        with pytest.raises(NetworkError):
            ask(f"{prefix}host.invalid/a.pkl")


def test_weights_by_an_address_are_read_and_described(server, monkeypatch):
    from torch import nn

    from project.engine.checkpoint import describe_weights, load_weights

    content = io.BytesIO()
    torch.save({"model": {"weight": torch.ones(1, 1), "bias": torch.ones(1)}}, content)
    monkeypatch.setattr(network, "_open", lambda url: Answer(content.getvalue()))
    url = "https://host.invalid/a.pth"
    set_downloads(True)
    model = nn.Linear(1, 1)
    load_weights(model, url)
    assert model.weight.item() == 1.0
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    assert describe_weights(url, 3) == {"path": url, "sha256": digest, "iteration": 3}


def test_a_folder_of_the_hub_is_compared_with_what_it_was(tmp_path, monkeypatch):
    folder = tmp_path / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    asked = []

    def snapshot(name: str, **words: object) -> str:
        asked.append((name, words["revision"], words["local_files_only"]))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    set_downloads(True)
    assert hub_folder("owner/model@v1") == folder
    set_downloads(False)
    assert hub_folder("owner/model@v1") == folder
    assert asked == [("owner/model", "v1", False), ("owner/model", "v1", True)]
    (folder / "config.json").write_text('{"a": 1}')
    with pytest.raises(NetworkError, match=r"config\.json: its content is not"):
        hub_folder("owner/model@v1")
    assert hub_folder(str(folder)) == folder  # a folder of one's own is taken as it is


def test_the_hub_is_reached_by_https_alone(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://mirror.invalid")
    set_downloads(True)
    with pytest.raises(NetworkError, match="only files at https"):
        hub_folder("owner/model")


def test_no_library_opens_a_connection_while_it_is_shut():
    """Not even to this machine: what listens there may be another's."""
    with socket.socket() as listening, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        set_downloads(False)
        for attempt in (
            lambda: socket.create_connection(("127.0.0.1", port), 1),
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}", None, 1),
            lambda: socket.getaddrinfo("host.invalid", 443),
            lambda: socket.gethostbyaddr("192.0.2.1"),
            lambda: socket.getnameinfo(("192.0.2.1", 443), 0),
            lambda: datagram.sendto(b"x", ("127.0.0.1", port)),
            lambda: datagram.sendmsg([b"x"], [], 0, ("127.0.0.1", port)),
        ):
            with pytest.raises(OSError, match="--allow-download"):
                attempt()
        set_downloads(None)
        socket.create_connection(("127.0.0.1", port), 1).close()


def test_processes_of_one_machine_may_talk(tmp_path):
    set_downloads(False)
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as calling:
        listening.bind(path)
        listening.listen()
        calling.connect(path)


def test_the_hubs_own_switch_follows(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    set_downloads(False)
    assert os.environ["HF_HUB_OFFLINE"] == "YES"
    set_downloads(True)
    assert "HF_HUB_OFFLINE" not in os.environ
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for allowed in (False, True, None):
        set_downloads(allowed)
        assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("tool", FETCHING)
def test_tools_that_may_fetch_have_the_flag(tool, capsys):
    with pytest.raises(SystemExit):
        load_tool(f"tools/{tool}.py").parse_args(["--help"])
    assert "--allow-download" in capsys.readouterr().out


def test_a_tool_in_its_own_process_and_its_ranks_are_shut(tmp_path):
    spec = factories.make_coco(tmp_path / "data")
    words = ["--config-file", TINY, "--dataset", spec, "OUTPUT_DIR", tmp_path / "out"]
    done = run_process(
        *("tools/train_net.py", *words[:4], "--num-gpus", "2", *words[4:]),
        "MODEL.WEIGHTS",
        URL,
        OMP_NUM_THREADS="1",
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert URL in done.stderr and "--allow-download" in done.stderr


@pytest.mark.parametrize("tool", FETCHING)
def test_main_opens_and_shuts(tool, monkeypatch):
    """The flag, and nothing else, decides; what comes after is not asked for here."""
    heard = []

    class Stop(Exception):
        pass

    module = load_tool(f"tools/{tool}.py")

    def hear(allowed: bool) -> None:
        heard.append(allowed)
        raise Stop

    monkeypatch.setattr(module, "set_downloads", hear)
    words = {
        "train_net": ["--config-file", "c"],
        "predict": ["--config-file", "c", "--weights", "w", "--input", "i", "--output", "o"],
        "visualize_data": ["--config-file", "c"],
        "label_with_sam": ["--model", "m", "--dataset", "d", "--split", "s", "--out", "o"],
        "report": ["r"],
    }[tool]
    for flags in ([], ["--allow-download"]):
        with pytest.raises(Stop):
            module.main([*flags, *words])
    assert heard == [False, True]
