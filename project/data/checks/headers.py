"""What the first bytes of an image file say, against what is stated of it."""

from collections.abc import Sequence
from typing import NamedTuple

from detectron2.data.transforms import ResizeShortestEdge

from project.data.dataset import DatasetInfo
from project.data.image_errors import turned_repair
from project.data.orientation import UPRIGHT, Size, turned_size
from project.data.problems import Problems
from project.data.records import Record


class Header(NamedTuple):
    """What is known of an image before its pixels are decoded.

    Attributes:
        stored: its (height, width) as stored.
        orientation: of EXIF, 1 to 8; 1 is upright.
    """

    stored: Size
    orientation: int

    @property
    def upright(self) -> Size:
        """Its size when it is turned as its EXIF orientation says."""
        return turned_size(self.stored, self.orientation)


# What becomes of an image that has an EXIF orientation.
TURNED, AS_STORED, UNTOLD = "turned", "as stored", "untold"


def exif_way(record: Record, header: Header, mode: str) -> str | None:
    """What is done about an image's EXIF orientation; `UNTOLD` is turned on trust.

    Args:
        record: of the image.
        header: of the image.
        mode: one of `project.data.spec.EXIF_MODES`.

    Returns:
        One of the three; None where there is no orientation, or where no size fits.
    """
    if header.orientation == UPRIGHT:
        return None
    if mode != "auto":
        return TURNED if mode == "apply" else AS_STORED
    if header.upright == header.stored:
        return UNTOLD
    sizes = {header.upright: TURNED, header.stored: AS_STORED}
    return sizes.get((record["height"], record["width"]))


class Resizing(NamedTuple):
    """How small images are made before the model sees them, pixels; see Detectron2's INPUT."""

    shortest: int
    longest: int


def check_header(
    record: Record,
    info: DatasetInfo,
    header: Header,
    resizing: Sequence[Resizing],
    problems: Problems,
) -> None:
    """Reports an image whose size is not the one stated, is turned, or vanishes when resized."""
    path, stated = record["file_name"], (record["height"], record["width"])
    accepted = {
        "auto": (header.upright, header.stored),
        "apply": (header.upright,),
        "ignore": (header.stored,),
    }[info.spec.exif]
    if stated not in accepted:
        _report_size(record, info, accepted[0], header, problems)
    elif header.orientation > 1 and len(accepted) > len(set(accepted)):
        problems.add(
            "exif_ambiguous",
            path,
            f"its EXIF orientation is {header.orientation}, which leaves the size as it is, so the"
            " annotations do not tell whether it was applied when they were drawn",
            "an orientation that the stated size confirms",
            "look at it with its annotations (tools/visualize_data.py), then write `exif: apply` or"
            " `exif: ignore` in the specification",
            image=record["image_id"],
        )
    vanishing = next((r for r in resizing if _vanishes(stated, r)), None)
    if vanishing:
        problems.add(
            "image_shape",
            path,
            f"it is {stated[0]} x {stated[1]} pixels (height x width), of which resizing the"
            f" shorter side to {vanishing.shortest} and the longer to {vanishing.longest} at most"
            " leaves nothing",
            "an image that is still there when it is resized",
            "cut it into pieces, or take it out of the data",
            image=record["image_id"],
        )


def _vanishes(size: Size, resizing: Resizing) -> bool:
    return min(size) > 0 and min(ResizeShortestEdge.get_output_shape(*size, *resizing)) < 1


def _report_size(
    record: Record, info: DatasetInfo, found: Size, header: Header, problems: Problems
) -> None:
    """Reports a size; of an image and its label map alone nobody knows which is to be mended."""
    path, source = record["file_name"], str(info.truth_file(record))
    stated = (record["height"], record["width"])
    report_size(path, found, stated, source, problems, record, header)
    if source == record.get("sem_seg_file_name"):
        report_size(source, stated, found, path, problems, record, header)


def report_size(
    path: str,
    found: Size,
    stated: Size,
    source: str,
    problems: Problems,
    record: Record,
    header: Header | None = None,
) -> None:
    """Reports that a file has another size than `source` states.

    Args:
        path: of the file.
        found: its (height, width).
        stated: those that `source` has or states.
        source: another file.
        problems: takes the finding.
        record: of the image.
        header: of the image, where its orientation may be the reason.
    """
    turned = found == stated[::-1]
    repair = "export both at the same size"
    if turned:
        repair = turned_repair(source, found, *(header or Header(found, UPRIGHT)))
    problems.add(
        "size_turned" if turned else "size_mismatch",
        path,
        f"its size is {found[0]} x {found[1]} pixels (height x width)",
        f"{stated[0]} x {stated[1]}, as {source} says",
        repair,
        image=record["image_id"],
    )
