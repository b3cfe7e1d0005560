"""The families of networks that torchvision builds, and what they share."""
