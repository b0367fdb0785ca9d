"""A client for the public API of Explore Education Statistics, the Department for Education's statistics service."""
