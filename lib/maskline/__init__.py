"""Semantic segmentation that can be reproduced. Importing this package does nothing."""

__version__ = "0.1.0"
