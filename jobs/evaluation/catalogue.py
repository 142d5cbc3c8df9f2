"""The metrics by name: what people read, which way is better, what each needs."""

from __future__ import annotations

from dataclasses import dataclass

TRUTH = "truth"
"""The method whose pictures are the real ones: the real set of FID and KID, the reference of identity and landmarks."""
LPIPS, INCEPTION, IDENTITY = "lpips", "inception", "identity"
"""Networks without whose weights a metric has no value."""
NOT_AVAILABLE = "weights not available"


@dataclass(frozen=True)
class Metric:
    """One number of a method; `needs` names the network it depends on; `tabled` = shown in the short table."""

    name: str
    label: str
    doc: str
    higher_is_better: bool
    digits: int
    unit: str = ""
    needs: str = ""
    tabled: bool = False
    of_set: bool = False

    def text(self, value: float) -> str:
        """The value with the digits that it deserves."""
        return f"{value:.{self.digits}f}"


_WHERE = {"hole": "in the hole", "rim": "in the rim", "image": "of the picture"}


def _pixel_metrics(region: str) -> list[Metric]:
    where, tabled = _WHERE[region], region == "hole"
    short = {"hole": "hole", "rim": "rim", "image": "image"}[region]
    return [
        Metric(f"psnr_{region}_db", f"PSNR {short}", f"peak signal-to-noise ratio {where}", True, 2, "dB", "", region != "image"),
        Metric(f"ssim_{region}", f"SSIM {short}", f"structural similarity {where}", True, 3, "", "", tabled),
        Metric(f"l1_{region}", f"L1 {short}", f"mean absolute difference {where}, of 1", False, 4, "", "", tabled),
        Metric(f"lpips_{region}", f"LPIPS {short}", f"learned perceptual distance {where}", False, 3, "", LPIPS, tabled),
    ]


PER_IMAGE: tuple[Metric, ...] = (
    *_pixel_metrics("hole"),
    *_pixel_metrics("rim"),
    *_pixel_metrics("image"),
    Metric("identity_similarity", "identity", "cosine between the embeddings of result and truth", True, 3, "", IDENTITY, True),
    Metric("nme_all", "NME", "landmark distance to the truth, in outer eye distances", False, 4, "", "", True),
    Metric("nme_upper", "NME upper", "the same, landmarks above the mask", False, 4),
    Metric("nme_hidden", "NME hidden", "the same, landmarks that the mask hides", False, 4, "", "", True),
    Metric("segmentation_iou", "mask IoU", "overlap of the occluder found and the true one", True, 3),
    Metric("boundary_f", "mask edge F", "boundary F score of the occluder found", True, 3),
    Metric("vertex_error", "vertex error", "mesh distance to the one known without the mask, in outer eye distances", False, 4),
    Metric("rotation_error_deg", "pose error", "angle to the pose known without the mask", False, 2, "°"),
)
OF_SETS: tuple[Metric, ...] = (
    Metric("kid", "KID", "kernel distance of the sets, times 1000", False, 2, "×10⁻³", INCEPTION, True, True),
    Metric("fid", "FID", "Fréchet distance of the sets", False, 1, "", INCEPTION, True, True),
    Metric("p_ids", "P-IDS", "share of results that a linear classifier takes for more real than their truth", True, 1, "%",
           INCEPTION, False, True),
    Metric("u_ids", "U-IDS", "share of pictures that a linear classifier takes for the other kind", True, 1, "%",
           INCEPTION, False, True),
)  # fmt: skip
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*PER_IMAGE, *OF_SETS)}
