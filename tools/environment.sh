#!/bin/sh
# Make the checkout's virtual environment, or bring it up to date: environment.sh core|test|dev|peers
#
# Called by the Makefile, which runs it only when a stamp is missing or older than what it was made
# from. Uses uv when it is on PATH, else venv and pip. Settings: PYTHON (interpreter to use), VENV
# (where, default .venv). Needs neither a compiler nor anything else than Python >= 3.11.
set -eu

kind=$1
venv=${VENV:-.venv}
oldest='3.11'

say() { printf '%s\n' "crossfeed: $*" >&2; }
die() { say "$@"; exit 1; }

has_uv() { command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; }

# Interpreters are tried by running them: a version manager leaves commands on PATH that only fail.
is_new_enough() {
    "$1" -c 'import sys
raise SystemExit(sys.version_info < (3, 11) or sys.implementation.name != "cpython")' >/dev/null 2>&1
}

# Some distributions ship Python without the part that makes environments; uv does not need it.
can_make_venv() { has_uv || "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

pick_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || die "PYTHON=$PYTHON does not run, or is older than CPython $oldest."
        can_make_venv "$PYTHON" || die "PYTHON=$PYTHON cannot make virtual environments:" \
            "install its venv package (Debian, Ubuntu: python3-venv) or put uv on PATH."
        command -v "$PYTHON"
        return
    fi
    seen=
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        is_new_enough "$candidate" || continue
        if can_make_venv "$candidate"; then
            command -v "$candidate"
            return
        fi
        seen=$candidate
    done
    [ -z "$seen" ] || die "$seen cannot make virtual environments:" \
        "install its venv package (Debian, Ubuntu: python3-venv) or put uv on PATH."
    die "no CPython >= $oldest found on PATH. Install one, or name it: make PYTHON=/path/to/python3"
}

minor() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# An environment is kept while it runs and, where PYTHON was named, while it is of that version.
is_usable() {
    [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python" || return 1
    [ -z "${PYTHON:-}" ] || [ "$(minor "$PYTHON" 2>/dev/null)" = "$(minor "$venv/bin/python")" ]
}

install_with_pip() {
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip --upgrade
    "$venv/bin/python" -m pip install --disable-pip-version-check --prefer-binary "$@"
}

install() {
    if has_uv; then
        uv pip install --python "$venv/bin/python" "$@" && return
        say "uv could not install (see above); trying the same with pip."
    fi
    install_with_pip "$@"
}

constraints=constraints.txt
case $kind in
    # A first look must not wait for a compiler: what installs the tests builds the accelerator.
    core) target=. CROSSFEED_PURE=1 && export CROSSFEED_PURE ;;
    test | dev) target=".[$kind]" ;;
    peers) target='.[test,peers]' constraints=constraints-peers.txt ;;
    *) die "usage: environment.sh core|test|dev|peers" ;;
esac

if ! is_usable; then
    python=$(pick_python)
    say "making $venv with Python $(minor "$python") ($python)"
    if has_uv; then
        uv venv --quiet --clear --python "$python" "$venv"
    else
        "$python" -m venv --clear "$venv"
    fi
fi

say "installing the $kind packages into $venv (once; a minute at most on a fair line)"
install --constraint "$constraints" --editable "$target" ||
    die "the packages could not be installed: read the lines above." \
        "Most often the package index cannot be reached (proxy, certificate, no network)."

# What was installed contains the smaller sets as well.
touch "$venv/.stamp-core"
case $kind in test | dev | peers) touch "$venv/.stamp-test" ;; esac
touch "$venv/.stamp-$kind"
