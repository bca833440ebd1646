"""Objects by their centres: what teaches them, and how pixels find theirs.

The maps of Panoptic-DeepLab (Cheng et al. 2020, arXiv:1911.10194): a heatmap with a Gaussian on
each object's centre of mass, and for each pixel of an object the way to that centre.

Legend: M objects, numbered from 1 in maps (0 is none); H x W pixels; places are (row, column).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 2**16  # pixels whose distances to all centres are held at once


def centres_of_mass(numbers: Tensor) -> Tensor:
    """Centres of the objects in a map.

    Args:
        numbers: (H, W) int64, 0 to M.

    Returns:
        (M + 1, 2) places in pixels; of no use at 0 and where an object has no pixel.
    """
    flat = numbers.flatten()
    count = int(flat.max()) + 1 if flat.numel() else 1
    areas = flat.bincount(minlength=count).clamp(min=1)
    places = _places(numbers).flatten(1)  # (2, H*W)
    sums = places.new_zeros(count, 2).index_add(0, flat, places.T)
    return sums / areas[:, None]


def offset_targets(numbers: Tensor, centres: Tensor) -> Tensor:
    """(2, H, W) way from each pixel to the centre of its object, in pixels; 0 where there is none.

    Args:
        numbers: (H, W) int64, 0 to M.
        centres: (M + 1, 2) of `centres_of_mass`.
    """
    ways = centres[numbers].permute(2, 0, 1) - _places(numbers)
    return ways * (numbers > 0)


def heatmap_target(numbers: Tensor, centres: Tensor, sigma: float) -> Tensor:
    """(H, W) largest of the Gaussians on the centres of objects that have pixels, 0 to 1.

    Only a window of three deviations around each centre is computed.

    Args:
        numbers: (H, W) int64, 0 to M.
        centres: (M + 1, 2) of `centres_of_mass`.
        sigma: deviation, pixels.
    """
    height, width = numbers.shape
    heat = centres.new_zeros(height * width)
    present = numbers.unique()
    present = present[present > 0]
    if not len(present):
        return heat.view(height, width)
    reach = int(3 * sigma + 0.5)
    steps = torch.arange(-reach, reach + 1, device=numbers.device)
    rows, columns = (centres[present].round().long()[:, i, None] + steps for i in (0, 1))
    falls = torch.exp(-(steps**2) / (2 * sigma**2))
    values = (falls[:, None] * falls).expand(len(present), -1, -1)  # (M, w, w)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None, :
    ]
    index = rows[:, :, None] * width + columns[:, None, :]
    return heat.scatter_reduce(0, index[inside], values[inside], "amax").view(height, width)


def find_centres(
    heatmap: Tensor, *, threshold: float, window: int, most: int
) -> tuple[Tensor, Tensor]:
    """Peaks of a heatmap.

    Args:
        heatmap: (H, W).
        threshold: lower peaks are none.
        window: odd, pixels; a peak is the highest of the window around it.
        most: centres to keep, the highest.

    Returns:
        places: (n, 2) int64.
        heights: (n,), falling.
    """
    highest = F.max_pool2d(heatmap[None], window, stride=1, padding=window // 2)[0]
    peaks = ((heatmap == highest) & (heatmap > threshold)).nonzero()
    heights = heatmap[peaks[:, 0], peaks[:, 1]]
    order = heights.argsort(descending=True, stable=True)[:most]
    return peaks[order], heights[order]


def assign_pixels(centres: Tensor, offsets: Tensor, inside: Tensor) -> Tensor:
    """Gives each pixel to the centre that is nearest to where its offset points.

    Args:
        centres: (M, 2) places.
        offsets: (2, H, W) in pixels.
        inside: (H, W) bool, pixels of objects.

    Returns:
        (H, W) int64: 0 outside, i + 1 for centre i; all 0 where there is no centre.
    """
    numbers = torch.zeros(inside.shape, dtype=torch.int64, device=inside.device)
    if not len(centres):
        return numbers
    targets = (_places(numbers) + offsets)[:, inside].T  # (P, 2)
    nearest = [
        torch.cdist(part, centres.to(part.dtype)).min(dim=1).indices
        for part in targets.split(_CHUNK)
    ]
    numbers[inside] = torch.cat(nearest) + 1 if nearest else numbers[inside]
    return numbers


def _places(numbers: Tensor) -> Tensor:
    """(2, H, W) float row and column of each pixel of a map."""
    height, width = numbers.shape
    rows = torch.arange(height, device=numbers.device, dtype=torch.float32)
    columns = torch.arange(width, device=numbers.device, dtype=torch.float32)
    return torch.stack([rows[:, None].expand(-1, width), columns.expand(height, -1)])
