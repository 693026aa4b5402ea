"""The segmentation networks of the paper, as plain torch modules: float (N, C, H, W) in, logits of the same H
and W out.

Nothing here needs a MONAI bundle: `from nets import Dilation10` is enough for your own training loop.
"""

from nets.deeplabv3 import DeepLabV3
from nets.dilation10 import Dilation10
from nets.fcn import FCN
from nets.valid_unet import ValidUNet
from nets.vgg import scaled

__all__ = ["FCN", "DeepLabV3", "Dilation10", "ValidUNet", "scaled"]
