"""Semantic segmentation that can be reproduced. Importing this package loads nothing; it turns telemetry off.

onnxruntime, from 1.32, writes a device id and events under the home folder and calls its maker's collector, unless it
is told otherwise before it is imported. Whoever wants to send sets the variable to 0.
"""

import os

__version__ = "0.1.0"

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
