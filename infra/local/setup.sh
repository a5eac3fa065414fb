#!/usr/bin/env bash
# Makes a checkout ready: Python's environment from requirements.lock, the project itself, and the Java libraries.
#
# Needs Python 3.11 to 3.13, Java 17 or newer, and nothing else. Runs on Linux and on macOS, whose bash is 3.2: no
# associative arrays, no ${x,,}, no readarray. A second run with nothing changed does nothing and needs no network.
#
#   PYTHON=python3.12   the Python to use          INSTALLER=pip | uv   what installs the packages
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly venv=.venv
readonly stamp=$venv/.retail-setup
readonly running=$venv/.retail-setup-running
readonly lock=requirements.lock
readonly jars_lock=infra/local/retail_local/jars.lock
readonly class_data_log=$venv/.class-data.log
readonly needed_kb=4000000
readonly oldest_java=17

say() { printf '==> %s\n' "$*"; }
die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

digest() {
  # cksum is the one checksum that every system has; this compares versions of our own files and guards nothing.
  cat "$lock" pyproject.toml "$jars_lock" infra/local/setup.sh | cksum
}

jars_present() {
  local cache=${RETAIL_CACHE_DIR:-$HOME/.cache/retail-assets} path
  awk -F'"' '/^\[/ { split($1, part, /[][]/); group = part[2] }
             / file = / && group != "s3" { print group "/" $4 }' "$jars_lock" |
    while IFS= read -r path; do
      [ -f "$cache/jars/$path" ] || exit 1
    done
}

python_fits() {
  "$1" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1
}

find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    command -v "$PYTHON" >/dev/null 2>&1 || die "PYTHON=$PYTHON was not found: set it to a Python 3.11, 3.12 or 3.13"
    python_fits "$PYTHON" || die "PYTHON=$PYTHON is $("$PYTHON" --version 2>&1 | head -n 1): set it to a Python 3.11, 3.12 or 3.13"
    printf '%s' "$PYTHON"
    return
  fi
  for candidate in python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null 2>&1 && python_fits "$candidate"; then
      printf '%s' "$candidate"
      return
    fi
  done
  local found
  found=$(python3 --version 2>/dev/null || echo 'no python3')
  die "Python 3.11, 3.12 or 3.13 is needed and there is $found on the PATH:" \
    "install one (macOS: brew install python@3.12) or name it, as in make setup PYTHON=/path/to/python3.12"
}

check_java() {
  local java from output version
  local advice="install a Java $oldest_java or newer (Debian and Ubuntu: apt install openjdk-17-jre-headless,"
  advice="$advice macOS: brew install openjdk@21) or set RETAIL_JAVA_HOME to the folder of one"
  if [ -n "${RETAIL_JAVA_HOME:-}" ]; then
    java=$RETAIL_JAVA_HOME/bin/java from=RETAIL_JAVA_HOME
  elif [ -n "${JAVA_HOME:-}" ]; then
    java=$JAVA_HOME/bin/java from=JAVA_HOME
  else
    java=$(command -v java || true) from=PATH
    [ -n "$java" ] || die "Java was not found: $advice"
  fi
  [ -x "$java" ] || die "$from names $java, which is not a program: $advice"
  output=$("$java" -version 2>&1) || die "$java (from $from) does not work: $advice"
  version=$(printf '%s\n' "$output" | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9][0-9]*\).*/\2/p' | head -n 1)
  [ -n "$version" ] || die "$java (from $from) does not say its version: $advice"
  [ "$version" -ge "$oldest_java" ] ||
    die "$java (from $from) is Java $version, and $oldest_java or newer is needed: $advice"
}

check_disk() {
  local free
  free=$(df -Pk . | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$needed_kb" ] ||
    die "only $((free / 1000)) MB are free in $PWD, and about $((needed_kb / 1000)) MB are needed: make room"
}

choose_installer() {
  # uv is several times faster, but doesn't read pip's settings: who has set up a mirror for pip keeps it.
  if [ -n "${INSTALLER:-}" ]; then
    case $INSTALLER in
      pip) ;;
      uv) command -v uv >/dev/null 2>&1 || die "INSTALLER=uv, but uv is not on the PATH: install it, or say INSTALLER=pip" ;;
      *) die "INSTALLER=$INSTALLER is neither pip nor uv: say one of them, or leave it out" ;;
    esac
    printf '%s' "$INSTALLER"
  elif ! command -v uv >/dev/null 2>&1; then
    printf pip
  elif [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}${UV_CONFIG_FILE:-}" ] &&
    "$1" -m pip config list 2>/dev/null | grep -iE 'index.url|proxy|find.links' >/dev/null; then
    printf pip
  else
    printf uv
  fi
}

make_venv() {
  local python=$1 installer=$2
  if [ -e "$running" ]; then
    say "the last set-up was interrupted: making $venv anew"
    rm -rf "$venv"
  elif [ -e "$venv" ] && ! python_fits "$venv/bin/python"; then
    say "$venv has no fitting Python any more: making it anew"
    rm -rf "$venv"
  fi
  [ -e "$venv" ] && return
  say "making $venv with $("$python" --version 2>&1)"
  if [ "$installer" = uv ]; then
    uv venv --quiet --python "$python" "$venv"
  else
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
      die "$python lacks its venv module: install it (Debian and Ubuntu: apt install python3-venv), or install uv"
    "$python" -m venv "$venv"
  fi
}

# The lock is complete, so nothing is resolved here (--no-deps); pip with --require-hashes would even refuse the extras
# of locked packages.
install() {
  local installer=$1
  shift
  if [ "$installer" = uv ]; then
    uv pip install --python "$venv/bin/python" --no-deps "$@"
  else
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null
    # One line for 25 packages instead of three for each; errors come over standard error and stay whole.
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install --no-deps --progress-bar off "$@" |
      awk '/^Collecting/ && ++count % 25 == 0 { print "    " count " packages"; fflush() }
           /^(Building|Installing collected|Successfully)/ { print "    " substr($0, 1, 100); fflush() }'
  fi
}

main() {
  local wanted python installer
  wanted=$(digest)
  if [ -x "$venv/bin/python" ] && [ ! -e "$running" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    jars_present && return
    say "fetching Java libraries"
    "$venv/bin/python" -m retail_local jars fetch
    return
  fi
  check_java
  python=$(find_python)
  check_disk
  installer=$(choose_installer "$python")
  make_venv "$python" "$installer"
  rm -f "$stamp"
  : >"$running"
  say "installing the packages of $lock with $installer (about 1 GB to download and 3 GB on the disk; some minutes the first time)"
  install "$installer" --require-hashes -r "$lock"
  say "installing the project"
  install "$installer" --no-build-isolation -e .
  say "fetching Java libraries"
  "$venv/bin/python" -m retail_local jars fetch
  # Saves each run of Spark some seconds. Nothing needs it, so a Java that can't do it is no error.
  say "letting Java learn Spark's classes (a minute, once)"
  "$venv/bin/python" -m retail_assets.cli class-data 2>"$class_data_log" || {
    tail -n 1 "$class_data_log" >&2
    say "it can't, see $class_data_log: Spark will start some seconds later"
  }
  printf '%s' "$wanted" >"$stamp"
  rm -f "$running"
  say "ready"
}

main
