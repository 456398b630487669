"""The only import of OpenCV, with a helpful message if a system library is missing."""

from atari_dqn.errors import UserError

try:
    import cv2
except ImportError as missing:
    advice = "on Debian, 'apt-get install libgl1 libglib2.0-0' fixes this"
    raise UserError(f"OpenCV does not load ({missing}); {advice}") from missing

__all__ = ["cv2"]
