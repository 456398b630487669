"""The one import of OpenCV, with a helpful message where a library of the system is missing."""

from atari_dqn.errors import UserError

try:
    import cv2
except ImportError as missing:
    advice = "'apt-get install libgl1 libglib2.0-0' mends it on Debian"
    raise UserError(f"OpenCV does not load ({missing}); {advice}") from missing

__all__ = ["cv2"]
