"""What the pages of all services share: layout, style, formats, logging in and out, and who may look."""

from services.runtime.pages.site import PageRoute, Site, asked
from services.runtime.pages.visitors import visitor

__all__ = ["PageRoute", "Site", "asked", "visitor"]
