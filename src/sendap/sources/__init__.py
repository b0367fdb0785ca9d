"""Tables from files as their publishers write them, and synthetic ones of the same layout."""
