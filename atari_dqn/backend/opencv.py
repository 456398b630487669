"""Imports OpenCV, with advice if a library is missing; no other module imports it directly."""

from atari_dqn.errors import UserError

try:
    import cv2
except ImportError as missing:
    advice = "on Debian, 'apt-get install libgl1 libglib2.0-0' fixes this"
    raise UserError(f"OpenCV does not load ({missing}); {advice}") from missing

__all__ = ["cv2"]
