"""What workflow authors hold: definitions and the step API. The engine stands behind it; nothing here runs anything."""
