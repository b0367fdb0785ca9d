"""Descriptions of datasets drafted from their files, and files compared with one another."""
