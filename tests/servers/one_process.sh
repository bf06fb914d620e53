# What the scripts of servers that are one process have in common; they source it after setting NAME, MODE and DATA.

die() { echo "$NAME.sh: $*" >&2; exit 1; }
free_port() { python3 -c 'import socket;s=socket.socket();s.bind(("127.0.0.1",0));print(s.getsockname()[1])'; }
alive() { [ -s "$DATA/pid" ] && kill -0 "$(cat "$DATA/pid")" 2>/dev/null; }

# Does stop and status, and tells how the script is used where it is not asked to start.
unless_start() {
  case $MODE in
  start) return 0;;
  stop) [ -n "$DATA" ] || die "stop needs --data"
    if alive; then p=$(cat "$DATA/pid"); kill -TERM "$p"; for _ in $(seq 50); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done; kill -0 "$p" 2>/dev/null && kill -KILL "$p"; fi
    rm -f "$DATA/pid"; echo stopped; exit 0;;
  status) [ -n "$DATA" ] || die "status needs --data"; if alive; then echo running; else echo stopped; exit 3; fi; exit 0;;
  *) sed -n '2,/^set /p' "$0" | sed '$d'; exit 2;;
  esac
}

# Makes the data folder.
prepare_data() {
  [ -n "$DATA" ] || DATA=$(mktemp -d)
  mkdir -p "$DATA"; DATA=$(cd "$DATA" && pwd -P)
  if alive; then die "already running in $DATA"; fi
}

# venv_with PROGRAM PACKAGE==VERSION...: a virtual environment in VENV; the newest packages where that version is not to be had.
venv_with() {
  [ -x "$VENV/bin/$1" ] && return 0
  shift
  python3 -m venv "$VENV" >&2 || { apt-get update -qq >&2; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >&2; python3 -m venv "$VENV" >&2; }
  "$VENV/bin/pip" -q install --disable-pip-version-check "$@" >&2 || "$VENV/bin/pip" -q install --disable-pip-version-check "${@%%==*}" >&2 || die "pip failed"
}
