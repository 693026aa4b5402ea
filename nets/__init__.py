"""The segmentation networks of the paper, as plain torch modules: float (N, C, H, W) in, logits of the same H
and W out.

Nothing here needs a MONAI bundle: `from nets import Dilation10` is enough for a training loop of your own.
"""

from nets.dilation10 import Dilation10

__all__ = ["Dilation10"]
