# shellcheck shell=sh
# SPDX-FileCopyrightText: The multus-cni authors
# SPDX-License-Identifier: Apache-2.0

# What the checks of the guest are written with. Nothing here prints on the
# report (descriptor 3) but proved, version and fail.

# busybox prefers its own ip, which knows less; and no colours.
ip() {
    /usr/bin/ip -color=never "$@"
}

proved() {
    echo "proved: $*" >&3
}

fail() {
    echo "failed: $*" | tr '\n' ' ' >&3
    echo >&3
    echo "== $*; now:"
    state
    for pod in /run/netns/*; do
        echo "== in $pod"
        ip -n "${pod##*/}" address
        ip -n "${pod##*/}" route
        ip -n "${pod##*/}" -6 route
    done
    exit 1
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
    deadline=$(($(uptime_seconds) + $1))
    shift
    until "$@"; do
        [ "$(uptime_seconds)" -lt $deadline ] || return 1
        sleep 0.1
    done
}

uptime_seconds() {
    cut -d. -f1 /proc/uptime
}

# cni VERB NETWORK POD: what the runtime would do. Each pod has a directory of
# confs of its own, since each has another VF. The result is in /run/result.
cni() {
    echo "== cnitool $* at $(uptime_seconds) s"
    NETCONFPATH=/etc/cni/$3 /opt/cni/bin/cnitool "$1" "$2" "/run/netns/$3" >/run/result 2>&1 || {
        status=$?
        cat /run/result
        return $status
    }
}

must() {
    cni "$@" || fail "cnitool $*: $(tr '\n' ' ' </run/result)"
}

# interfaces POD NAME...: these and lo, and no other.
interfaces() {
    pod=$1
    shift
    want=$(printf '%s\n' lo "$@" | sort | tr '\n' ' ')
    have=$(ip -n "$pod" -o link | awk -F '[:@ ]+' '{ print $2 }' | sort | tr '\n' ' ')
    [ "$have" = "$want" ] || fail "interfaces of pod $pod: want $want, have $have"
}

# address POD NAME PREFIX: one that begins so.
address() {
    ip -n "$1" -o address show dev "$2" | awk -v prefix="$3" '
        index($4, prefix) == 1 { sub("/.*", "", $4); print $4; found = 1; exit } END { exit !found }'
}

# addresses POD NAME=PREFIX...
addresses() {
    pod=$1
    shift
    for want; do
        address "$pod" "${want%%=*}" "${want#*=}" >/dev/null || fail "pod $pod has no address ${want#*=} on ${want%%=*}"
    done
}

# one_default FAMILY POD: one default route, of one path, through eth0.
one_default() {
    have=$(ip -n "$2" "-$1" -o route show default)
    case $have in
        *nexthop* | *'
'*) fail "IPv$1 default routes of pod $2, want one: $have" ;;
        default*' dev eth0'*) ;;
        *) fail "IPv$1 default route of pod $2, want one through eth0: $have" ;;
    esac
}

# primary_result ADDRESS...: what went to the runtime is about eth0 alone.
primary_result() {
    for want; do
        grep -qF "$want" /run/result || fail "no $want in the result: $(cat /run/result)"
    done
    ! grep -q '"net[0-9]"' /run/result || fail "a secondary in the result: $(cat /run/result)"
}

# masquerades iptables|ip6tables: so that its absence later says something.
masquerades() {
    "$1-save" -t nat | grep -q '^-A CNI-.* MASQUERADE' || fail "no $1 rule while the pods are attached"
}

# reach NAME PREFIX FROM TO: over that network alone. A VF's carrier can lag by
# seconds, and so can an IPv6 address.
reach() {
    to=$(address "$4" "$1" "$2") || fail "pod $4 has no address $2 on $1"
    for pod in "$3" "$4"; do
        wait_for 60 carrier "$pod" "$1" || fail "pod $pod: no carrier on $1"
    done
    wait_for 60 ping_once "$3" "$1" "$to" || fail "pod $3 does not reach $to of pod $4 over $1"
}

carrier() {
    ip -n "$1" link show "$2" | grep -q LOWER_UP
}

ping_once() {
    ip netns exec "$1" ping -c 1 -W 2 -I "$2" "$3"
}

has_link() {
    ip -n "$1" link show "$2" >/dev/null 2>&1
}

# vf POD NAME: it is a VF, by its driver.
vf() {
    have=$(ip netns exec "$1" readlink "/sys/class/net/$2/device/driver")
    [ "${have##*/}" = igbvf ] || fail "$2 of pod $1 is no VF: driver $have"
}

# state is all that a pod could leave on the node: devices by PCI address,
# links, addresses and routes, rules, leases, records and what plugins keep, and
# processes. Bridges stay, by the plugins' design; so does the number of the last
# lease.
state() {
    for device in /sys/bus/pci/devices/*/net/*; do
        echo "device $device"
    done
    ip -o link | awk '!/: (cni0|dual0):/ { print "link", $2 }'
    ip -o address | awk '$2 != "cni0" && $2 != "dual0" { print "address", $2, $4 }'
    { ip -o route && ip -6 -o route; } | awk '!/fe80|cni0|dual0/ { print "route", $0 }'
    for family in iptables ip6tables; do
        "$family-save" 2>/dev/null | awk -v family="$family" '/^(-A|:CNI)/ { $NF = ""; print family, $0 }'
    done
    find /var/lib/cni /run/cni /run/flannel ! -type d ! -name lock ! -name 'last_reserved_ip*' 2>/dev/null || true
    grep -l '[/]opt/cni' /proc/[0-9]*/cmdline 2>/dev/null || true
}

# nothing_left WHEN: as /run/before has it, and nothing in the pods.
nothing_left() {
    state >/run/after 2>/dev/null
    diff /run/before /run/after || fail "$1: something is left: $(diff /run/before /run/after | tr '\n' ' ')"
    for pod in a b; do
        interfaces $pod
    done
}
