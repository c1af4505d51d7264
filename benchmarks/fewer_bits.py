"""What fewer bits save and cost on this machine: a transformer of FLUX.1's width with few blocks and random weights,
from a folder in bfloat16, in 8 and 4 bits, and from GGUF files under the names of the original code.

python -m benchmarks.fewer_bits [--blocks 1] [--tokens 512]

Each way has a process of its own. GB are those of the weights with their scales; the error is that of the output,
relative to float32: of random weights, evenly spread, not of a real model's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

WAYS = ("float32", "bfloat16", "8bit", "4bit", "Q8_0", "Q4_0")
INDEX = {"transformer": ["diffusers", "FluxTransformer2DModel"]}
DOUBLE = {  # ours → the original code's, of a double block
    "norm1.linear": "img_mod.lin", "norm1_context.linear": "txt_mod.lin", "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj", "ff.net.0.proj": "img_mlp.0", "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0", "ff_context.net.2": "txt_mlp.2",
    "attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm",
    "attn.norm_added_q": "txt_attn.norm.query_norm", "attn.norm_added_k": "txt_attn.norm.key_norm",
}  # fmt: skip
SINGLE = {
    "norm.linear": "modulation.lin", "proj_out": "linear2", "attn.norm_q": "norm.query_norm",
    "attn.norm_k": "norm.key_norm",
}  # fmt: skip
ENDS = {
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "context_embedder": "txt_in", "x_embedder": "img_in", "proj_out": "final_layer.linear",
}  # fmt: skip


def original(net: dict[str, torch.Tensor], blocks: int) -> dict[str, torch.Tensor]:
    """Weights under the names of Black Forest Labs' code, with its one matrix for queries, keys and values."""
    own = {}

    def put(ours: str, theirs: str) -> None:
        for kind in ("weight", "bias"):
            if f"{ours}.{kind}" in net:
                own[f"{theirs}.{'scale' if '_norm' in theirs else kind}"] = net[f"{ours}.{kind}"]

    def join(theirs: str, *ours: str) -> None:
        for kind in ("weight", "bias"):
            own[f"{theirs}.{kind}"] = torch.cat([net[f"{name}.{kind}"] for name in ours])

    for ours, theirs in ENDS.items():
        put(ours, theirs)
    for i in range(blocks):
        double, single = f"transformer_blocks.{i}", f"single_transformer_blocks.{i}"
        for ours, theirs in DOUBLE.items():
            put(f"{double}.{ours}", f"double_blocks.{i}.{theirs}")
        join(f"double_blocks.{i}.img_attn.qkv", *(f"{double}.attn.to_{x}" for x in "qkv"))
        join(f"double_blocks.{i}.txt_attn.qkv", *(f"{double}.attn.add_{x}_proj" for x in "qkv"))
        for ours, theirs in SINGLE.items():
            put(f"{single}.{ours}", f"single_blocks.{i}.{theirs}")
        join(f"single_blocks.{i}.linear1", *(f"{single}.attn.to_{x}" for x in "qkv"), f"{single}.proj_mlp")
    for kind in ("weight", "bias"):  # scale and shift are the other way round
        scale, shift = net[f"norm_out.linear.{kind}"].chunk(2)
        own[f"final_layer.adaLN_modulation.1.{kind}"] = torch.cat([shift, scale])
    return own


def make(folder: Path, blocks: int) -> None:
    """The model in float32 and bfloat16, and its GGUF files."""
    import gguf
    from diffusers import FluxTransformer2DModel

    torch.manual_seed(0)
    net: Any = FluxTransformer2DModel(
        in_channels=384, out_channels=64, num_layers=blocks, num_single_layers=blocks, guidance_embeds=True
    )
    net.save_pretrained(folder / "float32" / "transformer")
    weights = original(net.state_dict(), blocks)
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0):
        writer = gguf.GGUFWriter(folder / f"{kind.name}.gguf", "flux")
        for name, tensor in weights.items():
            raw = tensor.numpy()
            if tensor.ndim == 2:
                writer.add_tensor(name, gguf.quants.quantize(raw, kind), raw_dtype=kind)
            else:
                writer.add_tensor(name, raw)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    net.to(torch.bfloat16).save_pretrained(folder / "bfloat16" / "transformer")


def size(net: torch.nn.Module) -> int:
    """Bytes of a network's weights and of the scales of those in 4 bits."""
    states = [getattr(weight, "quant_state", None) for weight in net.parameters()]
    scales = sum(4 * state.absmax.numel() for state in states if state is not None)
    return scales + sum(weight.numel() * weight.element_size() for weight in net.parameters())


def measured(folder: Path, way: str, tokens: int) -> dict[str, Any]:
    """One way in this process."""
    from restore.pipelines.hub.changes import Changes
    from restore.pipelines.hub.library import diffusers
    from restore.pipelines.hub.parts import on_any, parts

    cpu, kind = torch.device("cpu"), diffusers().FluxTransformer2DModel
    dtype = torch.float32 if way == "float32" else torch.bfloat16
    model = folder / ("float32" if way == "float32" else "bfloat16")
    changes = Changes.of(str(folder / f"{way}.gguf") if way[0] == "Q" else "", way if way.endswith("bit") else "")
    started = time.perf_counter()
    with on_any(cpu):
        net = parts(model, INDEX, {}, changes, dtype, cpu).get("transformer")
        net = net or kind.from_pretrained(model / "transformer", dtype=dtype)
    loaded = time.perf_counter() - started
    torch.manual_seed(1)
    side = int(tokens**0.5)
    given = {
        "hidden_states": torch.randn(1, side * side, 384, dtype=dtype),
        "encoder_hidden_states": torch.randn(1, 64, 4096, dtype=dtype),
        "pooled_projections": torch.randn(1, 768, dtype=dtype), "timestep": torch.tensor([0.5], dtype=dtype),
        "guidance": torch.tensor([30.0], dtype=dtype), "txt_ids": torch.zeros(64, 3),
        "img_ids": torch.cartesian_prod(torch.zeros(1), torch.arange(float(side)), torch.arange(float(side))),
    }  # fmt: skip
    seconds = []
    with torch.inference_mode():
        for _ in range(3):
            started = time.perf_counter()
            out = net(**given).sample.float()
            seconds.append(time.perf_counter() - started)
    torch.save(out, folder / f"{way}.pt")
    exact = torch.load(folder / "float32.pt", weights_only=True)
    return {
        "way": way, "load s": round(loaded, 1), "GB": round(size(net) / 1e9, 2), "step s": round(min(seconds), 2),
        "error": round(float((out - exact).norm() / exact.norm()), 4),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured(options.folder, options.way, options.tokens)))
        return
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), options.blocks)
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.fewer_bits", "--way", way, "--folder", name]
            run = subprocess.run(
                [*command, "--tokens", str(options.tokens)], capture_output=True, text=True, env=os.environ
            )
            print(run.stdout.strip() or run.stderr, flush=True)


if __name__ == "__main__":
    main()
