"""Texts as a terminal may show them."""


def duration(seconds: float) -> str:
    """`42s`, `3m20s`, `2h05m`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes}m{seconds:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def printable(text: str) -> str:
    """The text without control characters, which could move the cursor or ring the bell."""
    return "".join(c if c.isprintable() else " " for c in text)
