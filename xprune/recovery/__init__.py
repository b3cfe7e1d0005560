"""Winning accuracy back after layers went."""
