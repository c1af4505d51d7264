"""Denoising: noise levels, schedules, the sampler."""
