"""The family of networks that Ultralytics builds: its architectures, checked, and its parts."""
