"""What the pages of all applications have in common."""


def page(title: str, body: str) -> str:
    """Write a page."""
    return f"<!doctype html><title>{title}</title><h1>{title}</h1><p>{body}"
