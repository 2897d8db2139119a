"""An animator of faces that speak: phones with times become expression units, head pose, gaze and blinks.

It draws nothing: what it makes is as good for a renderer as for a network that learns how sound moves a face.
"""
