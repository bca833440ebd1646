"""Reads pickled weights of Detectron2's model zoo, and runs no code that a pickle asks for."""

import pickle
from typing import Any, ClassVar


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of numpy arrays in plain containers and nothing else: no code can run."""

    ALLOWED: ClassVar = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("_codecs", "encode"),
        ("collections", "OrderedDict"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not an array")
        return super().find_class(module, name)


def read_zoo_pickle(filename: str) -> dict[str, Any]:
    """Reads a `.pkl` of Detectron2's model zoo (or of Caffe2, which names weights otherwise).

    Raises:
        pickle.UnpicklingError: it holds anything but arrays in plain containers. Damaged ones raise
            what Python and NumPy raise, of many kinds.
    """
    with open(filename, "rb") as file:
        data = _ArrayUnpickler(file, encoding="latin1").load()
    if not isinstance(data, dict):
        raise pickle.UnpicklingError(f"it holds a {type(data).__name__}, no weights by name")
    if "model" in data and "__author__" in data:
        return data
    blobs = data.get("blobs", data)
    weights = {key: v for key, v in blobs.items() if not str(key).endswith("_momentum")}
    return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}
