#!/bin/sh
set -e
MODELS=/srv/models
export PORT=8001

# the chat model
nohup llama-server -m "$MODELS/chat.gguf" -c 8192 --port $PORT \
    -ctk q8_0 -ctv q8_0 -fa > chat.log 2>&1 &
CUDA_VISIBLE_DEVICES=0,1 vllm serve org/name --tensor-parallel-size 2 --max-model-len=8192 &
docker run --gpus all -it -v ~/models:/m vllm/vllm-openai:latest --model /m/awq --max-num-batched-tokens 4096
sleep 5
wait
