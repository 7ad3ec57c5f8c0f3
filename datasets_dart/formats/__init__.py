"""Readers of file formats, one module a format; every rule of reading a format is in its module."""
