#!/bin/sh
# run_example.sh STORE EXAMPLE: the example, against a store that ends with it.
set -e
folder=$(mktemp -d)
"$1" -m 16M -s "$folder/s" 2>"$folder/log" &
store=$!
trap 'kill $store; wait $store; rm -r "$folder"' EXIT
until grep -q serving "$folder/log"; do
  kill -0 $store
done
"$2" "$folder/s"
