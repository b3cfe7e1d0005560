"""The activations that a cheaper one can stand in for."""

from __future__ import annotations

from torch import nn

# Smooth ones that look like a ReLU. Not ReLU and its kin, which runtimes fuse into the
# convolution before them already; not gates such as Sigmoid, whose place a ReLU cannot take.
ACTIVATIONS = (nn.SiLU, nn.Hardswish, nn.GELU, nn.Mish, nn.ELU, nn.CELU, nn.SELU, nn.Softplus)
