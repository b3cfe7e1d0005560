"""An artifact in use: its manifest, how a picture goes in, and how detections come out."""
