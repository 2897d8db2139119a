"""The page: one file a tab, and no model code."""
