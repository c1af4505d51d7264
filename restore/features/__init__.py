"""The networks that both fillers and judges look through."""
