# shellcheck shell=sh
# SPDX-FileCopyrightText: The multus-cni authors
# SPDX-License-Identifier: Apache-2.0

# Multus rolled out over the node by the DaemonSet of doc/kubernetes/multus.yaml,
# upgraded while pods come and go, and removed: for `inside` to source. The image
# is that of `./build image`.
: "${root:?}" "${limit:?}"

installed=/opt/cni/bin/multus
roll_conf=/etc/cni/net.d/00-multus.conf

rollout() {
    arrives
    upgrade
    removal
}

# manifest prints multus.yaml, with the network card of this node.
manifest() {
    sed 's/"master": "eth0"/"master": "lan0"/' "$root/doc/kubernetes/multus.yaml"
}

# conf_of MANIFEST prints the conf in it, as a file.
conf_of() {
    sed -n '/^  00-multus.conf: |/,/^---/ s/^    //p' "$1"
}

arrives() {
    rm /opt/cni/bin/multus /etc/cni/net.d/10-multus.conf
    kubectl wait --for=condition=Ready=false node/node1 --timeout="$limit" >/dev/null ||
        fail 'the node is ready without a conf'
    node_import "$root/bin/multus-image.tar"
    manifest >/run/multus.yaml
    kubectl apply -f /run/multus.yaml >/dev/null
    rolled_out
    conf_of /run/multus.yaml >/run/conf
    await 30 'the conf' cmp -s /run/conf $roll_conf || fail "it is not that of the ConfigMap: $(cat $roll_conf)"
    cmp "/proc/$(busybox pidof multus)/exe" $installed || fail 'the binary on the node is not that of the image'
    kubectl wait --for=condition=Ready node/node1 --timeout="$limit" >/dev/null || fail 'the node stays without a network'
    pod first
    ready first
    networks_of first lo eth0 net0 net1
    one_default first
    proved "kubectl apply -f multus.yaml on a node without a network: binary and conf arrive, a pod gets lo, eth0, net0, net1"
    rm $installed
    await 30 'the binary to come back' cmp -s "/proc/$(busybox pidof multus)/exe" $installed || fail 'it stays away'
    proved 'a binary that is removed by hand is put back'
}

rolled_out() {
    kubectl rollout status daemonset/multus -n kube-system --timeout="$limit" >/dev/null || fail 'the DaemonSet is not rolled out'
}

# upgrade rolls out another image, then another conf, while pods come and go.
upgrade() {
    traffic &
    traffic=$!
    passed 1
    node_import "$root/bin/kube/next.tar"
    sed -i 's|multus:latest|multus:next|' /run/multus.yaml
    kubectl apply -f /run/multus.yaml >/dev/null
    rolled_out
    await 30 'the new binary' cmp -s "$root/bin/kube/next" $installed || fail 'the new image does not bring its binary'
    passed 2
    # Appended: in front of the others it would shift the names of their networks, which install refuses.
    sed -i -z 's|            }\n        \]|            },\n            { "type": "ptp", "ipam": { "type": "host-local", "subnet": "10.99.0.0/24" } }\n        ]|' /run/multus.yaml
    kubectl apply -f /run/multus.yaml >/dev/null
    conf_of /run/multus.yaml >/run/conf
    await 180 'the new conf' cmp -s /run/conf $roll_conf || fail 'the new conf does not arrive'
    passed 2
    : >/run/enough
    wait "$traffic" || fail 'a pod failed during the upgrade'
    failures=$(kubectl get events -o 'go-template={{range .items}}{{.reason}} {{.involvedObject.name}} {{.message}}{{"\n"}}{{end}}' |
        grep -E '^(FailedCreatePodSandBox|FailedKillPod) come' || :)
    [ -z "$failures" ] || fail "during the upgrade: $failures"
    pod second
    ready second
    networks_of second lo eth0 net0 net1 net2
    drop first second
    nothing_left 'after the upgrade'
    proved "another image, then another conf, while $(cat /run/passed) pods came and went: none failed, later ones have the new conf's networks"
}

# traffic makes pods come and go, one after the other, until there were enough.
traffic() {
    n=0
    until [ -e /run/enough ]; do
        pod "come$n"
        ready "come$n"
        one_default "come$n"
        drop "come$n"
        n=$((n + 1))
        echo $n >/run/passed
    done
}

# passed N returns when N more pods have come and gone.
passed() {
    goal=$(($(cat /run/passed 2>/dev/null || echo 0) + $1))
    await 120 'pods that come and go' have_passed || fail 'no pods come and go'
}

have_passed() {
    [ "$(cat /run/passed)" -ge "$goal" ]
}

# removal does what multus.yaml says, but for the drain first: uninstall must
# notice. (containerd could not delete the pod any more, were the conf gone.)
removal() {
    pod last
    ready last
    kubectl delete -f /run/multus.yaml --timeout="$limit" >/dev/null
    pod later
    ready later
    drop later
    if $installed uninstall >/run/said 2>&1 || [ ! -e $installed ] || [ ! -e $roll_conf ]; then
        fail "uninstall with a pod attached: $(cat /run/said)"
    fi
    drop last
    $installed uninstall >/run/said 2>&1 || fail "uninstall: $(cat /run/said)"
    left=$(find /opt/cni/bin /etc/cni/net.d -name '*multus*')
    [ -z "$left" ] || fail "uninstall leaves $left"
    nothing_left 'after uninstall'
    proved 'kubectl delete -f multus.yaml: pods come and go as before; multus uninstall: refuses while there is one, then leaves nothing'
}
