#!/bin/sh
# Builds the compiled modules with the address and undefined-behaviour sanitizers into build/sanitized
# and runs their tests with it: samples, recordings, mutants, ladders, queues, columns. Linux with gcc.
set -eu
cd "$(dirname "$0")/.."
python="${VENV:-.venv}/bin/python"
target=build/sanitized
rm -rf "$target"
mkdir -p "$target"
cp -R src/crossfeed "$target/crossfeed"
find "$target" -name '*.so' -delete
CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
LDFLAGS="-fsanitize=address,undefined" CROSSFEED_NATIVE=require \
    "$python" setup.py -q build_ext --force --build-lib "$target" --build-temp "$target/temp"
# The sanitizer must be loaded before Python; Python itself leaks at exit by design. With malloc in
# the place of Python's own pools every object is a block of its own, with a guarded end.
ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH="$target" CROSSFEED_MUTANTS="${MUTANTS:-20000}" \
LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" \
    "$python" -m pytest tests/native tests/journal/test_queue.py tests/store/test_batch.py --ignore=tests/native/test_guard.py -q -p no:randomly -p no:xdist --timeout=0 -o addopts="-ra --import-mode=importlib" "$@"
