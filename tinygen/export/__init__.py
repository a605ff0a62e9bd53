"""Packages for projects that people already have: Arduino, PlatformIO, Zephyr, ESP-IDF, CMake, or a plain folder."""
