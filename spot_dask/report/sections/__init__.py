"""Sections of the report, one per file: a public class with ``title``, ``order`` and ``render``.

A new section is one file in this folder; the page shows it in its order.
"""
