"""What cannot be had on this machine."""


class Missing(Exception):
    """A program, package or right that this machine lacks; the message says which, and how to get it."""
