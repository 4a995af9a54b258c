"""Devices and systems that are not there, pretended."""
