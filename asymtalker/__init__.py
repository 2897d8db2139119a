"""AsymTalker: a portrait and a recording become a talking-head video of any length (arXiv 2605.02948)."""

from asymtalker.pipeline import AsymTalkerPipeline, AsymTalkerPipelineOutput

__all__ = ["AsymTalkerPipeline", "AsymTalkerPipelineOutput"]
__version__ = "0.2.0"
