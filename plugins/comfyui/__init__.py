"""Nodes of `restore` for ComfyUI. Copy or link this folder to ComfyUI/custom_nodes/restore."""

from .nodes import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
