"""Object detection in static shapes: whatever varies in number is padded and has a mask."""

from msk_jax.models.detection.faster_rcnn import FasterRCNN
from msk_jax.models.detection.rpn import ProposalRule

__all__ = ["FasterRCNN", "ProposalRule"]
