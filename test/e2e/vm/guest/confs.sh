# shellcheck shell=sh
# SPDX-FileCopyrightText: The multus-cni authors
# SPDX-License-Identifier: Apache-2.0

# The confs of the checks, and nothing else.

# confs POD VF NIC NUMBER: a directory of confs for a pod that gets the VF with
# that PCI address, and its VLAN on that NIC. Two VLANs of one number cannot be
# on one NIC, and macvlan and ipvlan cannot share one.
confs() {
    dir=/etc/cni/$1
    mkdir -p "$dir"
    usage_conf "$2" >"$dir/usage.conf"
    kinds_conf "$3" "$4" >"$dir/kinds.conf"
    device_id_conf "$4" >"$dir/device-id.conf"
    failing_conf "$2" >"$dir/failing.conf"
    killed_conf "$2" >"$dir/killed.conf"
}

# usage_conf VF: the README's usage example. The sriov plugin, which picks a VF
# itself, is not to be had as a Go module; host-device is told the VF.
usage_conf() {
    cat <<J
{
    "cniVersion": "1.0.0",
    "name": "multus-demo-network",
    "type": "multus",
    "delegates": [
        {
            "type": "host-device",
            "pciBusID": "$1",
            "ipam": {
                "type": "host-local",
                "subnet": "10.56.217.0/24",
                "rangeStart": "10.56.217.131",
                "rangeEnd": "10.56.217.190",
                "routes": [{ "dst": "0.0.0.0/0" }],
                "gateway": "10.56.217.1"
            }
        },
        {
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "subnet": "10.168.1.0/24",
                "rangeStart": "10.168.1.11",
                "rangeEnd": "10.168.1.20",
                "routes": [{ "dst": "0.0.0.0/0" }],
                "gateway": "10.168.1.1"
            }
        },
        {
            "type": "flannel",
            "masterplugin": true,
            "delegate": { "isDefaultGateway": true }
        }
    ]
}
J
}

# kinds_conf NIC NUMBER: every other kind of interface, all dual stack, each
# with default routes of both families, and the primary in the middle. (Its own
# come from isDefaultGateway: bridge fails when its IPAM has them too.)
kinds_conf() {
    cat <<J
{
    "cniVersion": "1.0.0",
    "name": "kinds",
    "type": "multus",
    "delegates": [
        { "type": "vlan", "master": "$1", "vlanId": 100, "ipam": $(dual_stack 1) },
        { "type": "ipvlan", "master": "pf1", "ipam": $(dual_stack 2) },
        {
            "type": "bridge",
            "bridge": "dual0",
            "masterplugin": true,
            "isDefaultGateway": true,
            "ipMasq": true,
            "ipam": $(dual_stack 3 '')
        },
        { "type": "macvlan", "master": "pf0", "mode": "bridge", "ipam": $(dual_stack 4) },
        { "type": "dummy", "ipam": $(dual_stack 5) }
    ]
}
J
}

# dual_stack NUMBER [ROUTES]
dual_stack() {
    routes=${2-'{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }'}
    cat <<J
{
            "type": "host-local",
            "ranges": [[{ "subnet": "10.20.$1.0/24" }], [{ "subnet": "fd00:20:$1::/64" }]],
            "routes": [$routes]
        }
J
}

# device_id_conf NUMBER: the runtime says which VF, as a device plugin makes it
# do; the primary is first.
device_id_conf() {
    cat <<J
{
    "cniVersion": "1.0.0",
    "name": "device-id",
    "type": "multus",
    "capabilities": { "deviceID": true },
    "delegates": [
        {
            "type": "ptp",
            "masterplugin": true,
            "ipMasq": true,
            "ipam": {
                "type": "host-local",
                "subnet": "10.30.1.0/24",
                "routes": [{ "dst": "0.0.0.0/0" }]
            }
        },
        {
            "type": "host-device",
            "capabilities": { "deviceID": true },
            "ipam": {
                "type": "static",
                "addresses": [{ "address": "10.30.2.$1/24", "gateway": "10.30.2.1" }],
                "routes": [{ "dst": "0.0.0.0/0" }]
            }
        }
    ]
}
J
}

# failing_conf VF: flanneld has not started, so the last delegate fails. As in
# 2017, this conf and the next have no cniVersion.
failing_conf() {
    usage_conf "$1" | sed -e '/cniVersion/d' -e 's/multus-demo-network/failing/' \
        -e 's|"type": "flannel",|& "subnetFile": "/run/flannel/none.env",|'
}

# killed_conf VF: with a delegate that takes its time.
killed_conf() {
    usage_conf "$1" | sed -e '/cniVersion/d' -e 's/multus-demo-network/killed/' -e 's/"ptp"/"slow"/'
}
