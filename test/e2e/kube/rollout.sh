# shellcheck shell=sh
# SPDX-FileCopyrightText: The multus-cni authors
# SPDX-License-Identifier: Apache-2.0

# Multus rolled out over the node by an overlay of doc/kubernetes, upgraded while
# pods come and go, and removed: for `inside` to source. The image is that of
# `./build image`.
: "${root:?}" "${kube:?}" "${limit:?}"

installed=/opt/cni/bin/multus
roll_conf=/etc/cni/net.d/00-multus.conf

# The directory of the walk in doc/kubernetes/README.md: the project below
# multus, the overlay of one's own and the conf.
cluster=/run/cluster

# renders checks what no other row does: each overlay, those of distributions
# that are not here included, and the examples of the page.
renders() {
    mkdir -p "$cluster"
    ln -sfn "$root" "$cluster/multus"
    for o in "$root"/doc/kubernetes/overlays/*/; do
        kubectl kustomize "$o" >/run/rendered || fail "kubectl kustomize $o"
        bin=$(row_of "$o" 4)
        conf=$(row_of "$o" 5)
        if ! grep -q "path: $bin\$" /run/rendered || ! grep -q "path: $conf\$" /run/rendered; then
            fail "doc/kubernetes/README.md has $bin and $conf for $o, which renders $(grep 'path: /' /run/rendered)"
        fi
        # A value that must be set is refused where it is not: see `red`.
        grep -q 'image: localhost/multus:VERSION$' /run/rendered || fail "$o sets the image"
    done
    page_block 'overlays/containerd' >"$cluster/kustomization.yaml"
    cp "$kube/conf/multus.conf" "$cluster/00-multus.conf"
    mkdir -p "$cluster/a"
    page_block 'nameSuffix' >"$cluster/a/kustomization.yaml"
    cp "$kube/conf/multus.conf" "$cluster/a/00-multus.conf"
    kubectl kustomize "$cluster/a" >/run/rendered || fail 'the overlay of a pool of nodes does not render'
    for want in 'name: multus-a$' 'nodeSelector:' 'name: multus-a-[0-9a-z]*$' 'image: localhost/multus:v1.0.0$'; do
        grep -q "$want" /run/rendered || fail "no $want in the overlay of a pool of nodes"
    done
    kubectl apply --dry-run=server -f /run/rendered >/dev/null || fail 'the apiserver refuses the overlay of a pool of nodes'
    proved "kubectl kustomize renders all overlays ($(cd "$root/doc/kubernetes/overlays" && echo *)) with the paths of the README's table"
}

# row_of OVERLAY N prints the Nth column of its row in doc/kubernetes/README.md.
row_of() {
    awk -F ' *[|] *' -v "name=\`$(basename "$1")\`" -v "n=$2" '$2 == name { gsub("`", "", $n); print $n }' \
        "$root/doc/kubernetes/README.md" | grep . || fail "doc/kubernetes/README.md has no row for $1"
}

# page_block WORD prints the first block of doc/kubernetes/README.md with WORD.
page_block() {
    block_of "$root/doc/kubernetes/README.md" "$1" | grep . || fail "doc/kubernetes/README.md has no block with $1"
}

# apply rolls out what $cluster holds, and waits as the page says.
apply() {
    kubectl apply -k "$cluster" >/run/applied || fail 'kubectl apply -k'
    rolled_out
}

rolled_out() {
    kubectl -n kube-system rollout status daemonset/multus --timeout="$limit" >/run/status ||
        fail "the DaemonSet is not rolled out: $(multus_pods)"
}

# multus_pods prints what the pods of the DaemonSet say, whatever state they are in.
multus_pods() {
    kubectl -n kube-system describe pods -l app=multus | grep -A 4 -E '^ +(Reason|Message|Ready):|failed' || :
    kubectl -n kube-system logs -l app=multus --tail 20 || :
}

# arrives: a node that has no network yet.
arrives() {
    rm -f $installed /etc/cni/net.d/10-multus.conf
    kubectl wait --for=condition=Ready=false node/node1 --timeout="$limit" >/dev/null ||
        fail 'the node is ready without a conf'
    node_import "$root/bin/multus-image.tar"
    apply
    # No waiting: this is what the rollout has waited for.
    cmp -s "$cluster/00-multus.conf" $roll_conf || fail "rolled out, and the conf is not that of the ConfigMap: $(cat $roll_conf)"
    of_image || fail 'rolled out, and the binary on the node is not that of the image'
    kubectl wait --for=condition=Ready node/node1 --timeout="$limit" >/dev/null || fail 'the node stays without a network'
    pod first
    ready first
    networks_of first lo eth0 net0 net1
    one_default first
    proved "kubectl apply -k on a node without a network: binary and conf arrive, a pod gets lo, eth0, net0, net1"
    rm $installed
    await 30 'the binary to come back' of_image || fail 'the binary stays away'
    proved 'a binary that is removed by hand is put back'
    drop first
    withdraw
    $installed uninstall >/run/said 2>&1 || fail "uninstall: $(cat /run/said)"
    nothing_left 'after the first rollout'
}

# of_image: the binary on the node is that of the pod of the DaemonSet. Its probe,
# and the runtime, run others of that name.
of_image() {
    for p in $(busybox pidof multus); do
        if tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null | grep -q '^/multus install '; then
            cmp -s "/proc/$p/exe" $installed
            return
        fi
    done
    return 1
}

# upgrade rolls out another image, then another conf, while pods come and go.
upgrade() {
    pod first
    ready first
    traffic &
    traffic=$!
    passed 1
    node_import "$root/bin/kube/next.tar"
    sed -i 's|newTag: v1.0.0|newTag: v1.0.1|' "$cluster/kustomization.yaml"
    apply
    cmp -s "$root/bin/kube/next" $installed || fail 'rolled out, and the new image has not brought its binary'
    passed 1
    # Last in the list: before the others it would change their interfaces, and
    # with these the names of networks that have none of their own.
    link_conf >"$cluster/link.conf"
    compose storage.conf link.conf
    apply
    cmp -s "$cluster/00-multus.conf" $roll_conf || fail 'rolled out, and the new conf is not on the node'
    passed 1
    : >/run/enough
    wait "$traffic" || fail 'a pod failed during the upgrade'
    failures=$(kubectl get events -o 'go-template={{range .items}}{{.reason}} {{.involvedObject.name}} {{.message}}{{"\n"}}{{end}}' |
        grep -E '^(FailedCreatePodSandBox|FailedKillPod) come' || :)
    [ -z "$failures" ] || fail "during the upgrade: $failures"
    pod second
    ready second
    networks_of second lo eth0 net0 net1
    drop first second
    nothing_left 'after the upgrade'
    proved "another image, then another conf, while $(cat /run/passed) pods came and went: none failed, later ones have the new conf's networks"
}

link_conf() {
    cat <<J
{ "cniVersion": "1.0.0", "name": "link", "type": "ptp", "ipam": { "type": "host-local", "subnet": "10.99.0.0/24" } }
J
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

# removal does what the page says, but for the drain first: uninstall must notice.
# (containerd could not delete the pod any more, were the conf gone.)
removal() {
    pod last
    ready last
    withdraw
    pod later
    ready later
    networks_of later lo eth0 net0 net1
    drop later
    if $installed uninstall >/run/said 2>&1 || [ ! -e $installed ] || [ ! -e $roll_conf ]; then
        fail "uninstall with a pod attached: $(cat /run/said)"
    fi
    grep -q 'Drain the node, then try again' /run/said || fail "uninstall does not say what to do: $(cat /run/said)"
    grep -o 'multus list.*' /run/said >/run/command || fail "uninstall does not say how to see the pods: $(cat /run/said)"
    PATH=/opt/cni/bin:$PATH sh /run/command | grep -q default/last || fail "$(cat /run/command) does not show the pod that is left"
    drop last
    $installed uninstall >/run/said 2>&1 || fail "uninstall: $(cat /run/said)"
    left=$(find /opt/cni/bin /etc/cni/net.d -name '*multus*')
    [ -z "$left" ] || fail "uninstall leaves $left"
    nothing_left 'after uninstall'
    pod alone
    ready alone
    networks_of alone lo eth0
    drop alone
    proved 'kubectl delete -k: pods come and go as before; multus uninstall: with a pod there, refuses and shows it; then leaves nothing, and flannel serves pods again'
}

# withdraw deletes the DaemonSet, and the ConfigMaps of all of its revisions.
withdraw() {
    kubectl delete -k "$cluster" --timeout="$limit" >/dev/null || fail 'kubectl delete -k'
    kubectl -n kube-system delete configmap -l app=multus >/dev/null || fail 'kubectl delete configmap'
    kubectl -n kube-system wait --for=delete pod -l app=multus --timeout="$limit" >/dev/null || fail 'the pods of the DaemonSet stay'
}
