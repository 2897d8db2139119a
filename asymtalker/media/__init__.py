"""Media in and out: portraits, speech and video files."""
