#!/bin/sh
# Makes domains and accounts with the command line of an IceWarp server. Run it on the server, as root:
#
#   sh provision.sh          domains, accounts, names, addresses, quotas, members
#   sh provision.sh finish   after the mail has been brought over: forwards, and accounts that are to be disabled
#
# It looks before it writes and looks again afterwards, so it can be run as often as need be. TOOL names the server's tool, if it is not
# /opt/icewarp/tool.sh. What the tool says is in provision.log beside this file; what no script can do is in by-hand.txt.
#
# Passwords lie in secrets/, a file for each account, and go to the tool by the name of that file ("tool import"). If this server's tool makes
# no account that way, FLOE_PASSWORDS_ON_COMMAND_LINE=1 sends them as arguments, where everybody on this machine can see them for a moment.
# Destroy secrets/, accounts.csv and webadmin-users.csv when all is done.
set -u
umask 077
here=$(cd "$(dirname "$0")" && pwd) || exit 2
tool=${TOOL:-/opt/icewarp/tool.sh}
log=$here/provision.log
failed=0
command -v "$tool" >/dev/null || { echo "there is no $tool: name the server's tool in TOOL" >&2; exit 2; }

say() { printf '%s\n' "$*"; printf '%s\n' "$*" >>"$log"; }
complain() { failed=$((failed + 1)); say "NOT DONE: $*"; }
run() { "$tool" "$@" >>"$log" 2>&1 </dev/null; }
# The tool prints "Name: value"; it may fail and still print what it knows.
value() { "$tool" get "$1" "$2" "$3" 2>/dev/null </dev/null | sed -n 's/^[^:]*: \{0,1\}//p' | head -n 1; }
there() { "$tool" get "$1" "$2" "$3" 2>/dev/null </dev/null | grep -qi "^ *$3 *:"; }

make_domain() {
  there domain "$1" d_type && return 0
  run create domain "$1"
  if there domain "$1" d_type; then say "made domain $1"; else complain "domain $1"; fi
}
make_mailbox() {
  there account "$1" u_type && return 0
  run import account "$here/$2" u_password
  if ! there account "$1" u_type && [ "${FLOE_PASSWORDS_ON_COMMAND_LINE:-}" = 1 ]; then
    run create account "$1" u_password "$(cut -d, -f2- "$here/$2")"
  fi
  if there account "$1" u_type; then say "made account $1"; else complain "account $1: the tool did not make it"; fi
}
make_other() {
  there account "$1" u_type && return 0
  run create account "$1" u_type "$2"
  if there account "$1" u_type; then say "made account $1"; else complain "account $1: the tool did not make it"; fi
}
# want OBJECT NAME VARIABLE VALUE
want() {
  [ "$(value "$1" "$2" "$3")" = "$4" ] && return 0
  run set "$1" "$2" "$3" "$4" || run modify "$1" "$2" "$3" "$4"
  if [ "$(value "$1" "$2" "$3")" = "$4" ]; then say "set $3 of $2"; else complain "$3 of $2"; fi
}
# fill ACCOUNT VARIABLE VALUE: only where there is nothing yet.
fill() {
  [ -n "$(value account "$1" "$2")" ] && return 0
  run set account "$1" "$2" "$3" || run modify account "$1" "$2" "$3"
  if [ -n "$(value account "$1" "$2")" ]; then say "set $2 of $1"; else complain "$2 of $1"; fi
}
end() {
  if [ "$failed" = 0 ]; then say "PASS: all is there"; exit 0; fi
  say "PASS WITH EXCEPTIONS: $failed not done"
  exit 1
}

