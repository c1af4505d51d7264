"""Put trained weights into the package and enter them in its manifest.

Example:
  python -m restore.training.publish judge runs/judge/judge.safetensors \\
      --architecture "JudgeNet (quality/judge_net.py)" \\
      --recipe training/recipes/judge.yaml --samples 60000 --data "photos-*.tar (see training/README.md)"
Measured scores are entered by `benchmarks/`, never by hand.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from safetensors.torch import load_file, save_file

WEIGHTS = Path("restore/weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="name of the model in the manifest")
    parser.add_argument("source", type=Path, help="safetensors file of a training run")
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--recipe", default="")
    parser.add_argument("--samples", type=int, default=0, help="training samples seen")
    parser.add_argument("--data", default="")
    parser.add_argument("--licence", default="Apache-2.0")
    args = parser.parse_args()
    tensors = {key: value.half().contiguous() for key, value in load_file(args.source).items()}
    path = WEIGHTS / f"{args.name}.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)
    manifest = WEIGHTS / "MANIFEST.json"
    content = json.loads(manifest.read_text()) if manifest.exists() else {"models": {}}
    content["models"][args.name] = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "parameters": sum(t.numel() for t in tensors.values()),
        "architecture": args.architecture,
        "licence": args.licence,
        "recipe": args.recipe,
        "data": args.data,
        "samples": args.samples,
        "scores": {},
    }
    manifest.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
