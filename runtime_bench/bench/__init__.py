"""Measure one artifact, compare several, or hold one to limits; and report it."""
