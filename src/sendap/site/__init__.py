"""The published site: pages staged once, from the last good runs and the catalogue, then rendered.

Quarto renders them where it is installed, the built-in preview where it is not. Both read ``_quarto.yml``.
"""
