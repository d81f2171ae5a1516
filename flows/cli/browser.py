"""Opens a page in the user's browser, where there is one."""

from __future__ import annotations

import os
import sys
import webbrowser


def open_in_browser(url: str) -> bool:
    """Open a page; return False where there is no browser with a window: a browser in the terminal would take it."""
    has_display = sys.platform != "linux" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    try:
        return has_display and webbrowser.open(url)
    except webbrowser.Error:
        return False
