# shellcheck shell=sh
# SPDX-FileCopyrightText: The multus-cni authors
# SPDX-License-Identifier: Apache-2.0
#
# What ./build and the scripts of test/ share, for a script to source that has set
#
#   root    the project's directory
#   me      the name that its messages begin with
: "${root:?}" "${me:?}"

# The path of an ordinary user often lacks nft and iptables. What commands print must not depend on a language.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL

die() {
    echo "$me: $*" >&2
    exit 1
}

# need COMMAND...: ensures that the commands exist. Root installs Debian's packages of those that are missing; anybody
# else is told all of them in one line. Scripts call it before they do anything else. The command cc means a C
# compiler that finds libc's headers, which Debian does not install with it.
need() {
    missing=$(missing "$@" | sort -u | xargs)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        die "packages are missing: install $missing (Debian's names) and try again"
    fi
    echo "$me: installing $missing" >&2
    # shellcheck disable=SC2086 # names of packages have no spaces
    install_packages $missing >&2 || die "could not install $missing"
    missing=$(missing "$@" | xargs)
    [ -z "$missing" ] || die "still missing after the installation: $missing"
}

# install_packages PACKAGE...: it waits for up to ten minutes while others install something.
install_packages() {
    tries=120
    # apt-get can wait for dpkg's lock, but not for the one of its own lists.
    until lists=$(apt-get -q update 2>&1); do
        tries=$((tries - 1))
        case $lists in
            *'Could not get lock'*) [ "$tries" -gt 0 ] && sleep 5 && continue ;;
        esac
        echo "$lists" >&2
        return 1
    done
    DEBIAN_FRONTEND=noninteractive \
        apt-get -qy -o DPkg::Lock::Timeout=600 install --no-install-recommends "$@"
}

# missing COMMAND...: the packages of those that do not exist.
missing() {
    for command; do
        case $command in
            cc) echo '#include <stdlib.h>' | ${CC:-gcc} -E - >/dev/null 2>&1 || printf 'gcc\nlibc6-dev\n' ;;
            *) command -v "$command" >/dev/null || package_of "$command" ;;
        esac
    done
}

package_of() {
    case $1 in
        dpkg-deb) echo dpkg ;;
        fuser) echo psmisc ;;
        ip) echo iproute2 ;;
        iptables | iptables-save | ip6tables-save) echo iptables ;;
        nft) echo nftables ;;
        ping) echo iputils-ping ;;
        unshare | nsenter | setpriv | script) echo util-linux ;;
        *) echo "$1" ;;
    esac
}

# need_go: ensures that Go is there and not older than go.mod wants.
need_go() {
    want=$(awk '$1 == "go" { print $2 }' "$root/go.mod")
    command -v go >/dev/null || die "Go is missing: install Go $want or later, see https://go.dev/doc/install"
    have=$(go env GOVERSION 2>&1) || die "Go $want or later is needed: $have"
    oldest=$(printf '%s\n' "$want" "${have#go}" | sort -V | head -n 1)
    [ "$oldest" = "$want" ] || die "Go $want or later is needed, this is $have"
}

# need_root WHY
need_root() {
    [ "$(id -u)" -eq 0 ] || die "run it as root: $1"
}

progress_clear=''

# show_progress FILE: from now on shows on stderr how far a long run is: on a terminal in one line that is rewritten every
# second, elsewhere in a line a minute. Whoever begins or ends a piece of work, the script itself (with progress) or a test
# that it runs, appends a line to FILE, which is $PROGRESS:
#
#   TIME N M FAILURES WHAT    at TIME (date +%s) N of M of WHAT are done, and FAILURES of them have failed
#
# The last line about each WHAT counts. The first one, with an N of 0, says when WHAT began.
show_progress() {
    export PROGRESS="$1"
    : >"$PROGRESS"
    if [ -t 2 ]; then
        progress_clear=$(printf '\r\033[K')
        progress_loop 1 '\r\033[K%.79s' "$$" >&2 &
    else
        progress_loop 60 '%s\n' "$$" >&2 &
    fi
    progress_pid=$!
}

# hide_progress ends that. It may be called more than once, by a trap too.
hide_progress() {
    [ -n "${progress_pid:-}" ] || return 0
    kill "$progress_pid" 2>/dev/null || true
    wait "$progress_pid" 2>/dev/null || true
    progress_pid=''
    clear_line
}

# clear_line: for whoever is about to print while progress is shown. $progress_clear is for whoever filters what is printed.
clear_line() {
    printf '%s' "$progress_clear" >&2
}

# progress N M FAILURES WHAT
progress() {
    [ -z "${PROGRESS:-}" ] || echo "$(date +%s) $*" >>"$PROGRESS"
}

# progress_loop SECONDS FORMAT PID: shows it every so many seconds, as long as PID is alive.
progress_loop() {
    sleeping=''
    trap 'kill $sleeping 2>/dev/null; exit' TERM
    trap '' INT # what the terminal interrupts is the script, which then ends this
    began=$(date +%s)
    while kill -0 "$3" 2>/dev/null; do
        sleep "$1" &
        sleeping=$!
        wait "$sleeping"
        line=$(progress_line "$began")
        # shellcheck disable=SC2059 # it is a format
        [ -z "$line" ] || printf "$2" "$line"
    done
}

# progress_line BEGAN: what has not ended yet, and how long that will take if it goes on at the same pace.
progress_line() {
    awk -v me="$me" -v began="$1" -v now="$(date +%s)" '
        {
            what = $5
            for (i = 6; i <= NF; i++) what = what " " $i
            if (!(what in since)) { since[what] = $1; order[++count] = what }
            done[what] = $2; total[what] = $3; failures[what] = $4
        }
        END {
            for (i = 1; i <= count; i++) {
                what = order[i]
                failed += failures[what]
                if (done[what] >= total[what]) continue
                line = line " " what (total[what] > 1 ? sprintf(" %d of %d", done[what], total[what]) : "") ","
                rest = done[what] ? (now - since[what]) * (total[what] - done[what]) / done[what] : 0
                if (rest > left) left = rest
            }
            if (count == 0) exit
            printf "%s:%s %d failed, %d:%02d", me, line, failed, (now - began) / 60, (now - began) % 60
            if (left > 0) printf ", about %d:%02d left", left / 60, left % 60
            print ""
        }' "$PROGRESS"
}

# takes WHAT: announces a run of more than ten minutes.
takes() {
    echo "$me: this takes $*" >&2
}
