"""The face renderer: moves a portrait's own pixels by its landmarks."""
