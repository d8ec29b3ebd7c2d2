#!/bin/sh
# SPDX-FileCopyrightText: The multus-cni authors
# SPDX-License-Identifier: Apache-2.0

# The throw-away node of lib.sh, which starts it; nobody runs this by hand.
#
#   node.sh supervise DIR   starts the node, and undoes it all when told to stop
#   node.sh init DIR        the node itself: PID 1 of namespaces of its own
#
# DIR is the work folder; it is the supervisor's to remove. The supervisor is a
# process apart so that the machine is cleaned up even if the check is killed
# with SIGKILL: it gets a SIGTERM when its parent dies.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=$2

supervise() {
    init='' unshare=''
    trap undo EXIT
    trap 'exit 0' TERM INT
    # Its own network namespace has no way out, its own PID namespace dies
    # whole with its PID 1, its own mounts go with the last process.
    unshare --mount --net --pid --fork --kill-child --mount-proc \
        "$here/node.sh" init "$dir" >"$dir/logs/node.log" 2>&1 &
    unshare=$!
    for _ in $(seq 200); do
        read -r init <"/proc/$unshare/task/$unshare/children" || :
        [ -z "$init" ] || break
        sleep 0.05
    done
    echo "$init" >"$dir/init.pid"
    wait "$unshare"
}

undo() {
    trap '' TERM INT
    kill -KILL "${init:-$unshare}" 2>/dev/null || :
    wait
    # The kubelet's and containerd's cgroups are the one thing that is not in a
    # namespace. They are busy until the kernel has buried the last process.
    for _ in $(seq 100); do
        groups=$(find /sys/fs/cgroup -mindepth 1 -maxdepth 2 \( -name kubepods -o -name k8s.io \))
        [ -n "$groups" ] || break
        # shellcheck disable=SC2086 # a list
        find $groups -depth -type d -exec rmdir {} + 2>/dev/null || :
        sleep 0.1
    done
    rm -rf "$dir"
}

init() {
    mounts
    sysctls
    links
    components
    touch "$dir/ready"
    # PID 1 reaps what is orphaned; the kubelet's loop never ends.
    while :; do wait; done
}

# mounts lets the node write to the usual places, and forget it all at the end.
mounts() {
    mount --make-rshared / # the kubelet wants it; we are in a mount namespace
    mkdir "$dir/cow" "$dir/containerd"
    mount -t tmpfs tmpfs "$dir/cow"
    for d in etc opt var; do
        mkdir "$dir/cow/$d" "$dir/cow/$d.work"
        mount -t overlay overlay \
            -o "lowerdir=/$d,upperdir=$dir/cow/$d,workdir=$dir/cow/$d.work" "/$d"
    done
    # Nothing that the machine has there may show: a CNI conf, leases, sockets.
    for d in /run /etc/cni/net.d /opt/cni/bin /var/lib/cni /var/lib/kubelet /var/lib/etcd; do
        mkdir -p "$d"
        mount -t tmpfs tmpfs "$d"
    done
    chmod 700 /var/lib/etcd
    mkdir -p /run/lock /var/lib/containerd /etc/kubernetes
    # An overlay is no place for containerd's own overlays.
    mount --bind "$dir/containerd" /var/lib/containerd
}

# sysctls gives the kubelet files of its own to write: it sets these for the
# whole machine, without a namespace.
sysctls() {
    for s in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
        kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
        f=$dir/cow/$(echo "$s" | tr / .)
        cat "/proc/sys/$s" >"$f"
        mount --bind "$f" "/proc/sys/$s"
    done
}

# links makes the node's own address, and lan0, which stands for a physical
# network card for macvlan to sit on.
links() {
    ip link set lo up
    for l in node0 lan0; do
        ip link add "$l" type veth peer name "${l}p"
        ip link set "$l" up
        ip link set "${l}p" up
    done
    ip addr add 172.30.0.1/24 dev node0
    echo 1 >/proc/sys/net/ipv4/ip_forward
}

components() {
    credentials
    start containerd containerd --config "$here/containerd.toml"
    # unsafe-no-fsync: a store that nobody needs after a power cut.
    start etcd etcd --name node1 --data-dir /var/lib/etcd/data --unsafe-no-fsync
    start apiserver kube-apiserver \
        --etcd-servers http://127.0.0.1:2379 \
        --cert-dir /var/run/kubernetes \
        --bind-address 127.0.0.1 --advertise-address 172.30.0.1 \
        --service-cluster-ip-range 10.96.0.0/24 \
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
        --token-auth-file /etc/kubernetes/tokens.csv \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file /etc/kubernetes/sa.key \
        --service-account-signing-key-file /etc/kubernetes/sa.key \
        --allow-privileged --kubelet-preferred-address-types InternalIP
    await 'the apiserver' kubectl --kubeconfig /etc/kubernetes/admin get --raw /readyz
    start controllers kube-controller-manager \
        --kubeconfig /etc/kubernetes/controllers \
        --service-account-private-key-file /etc/kubernetes/sa.key \
        --root-ca-file /var/run/kubernetes/apiserver.crt \
        --use-service-account-credentials --leader-elect=false \
        --cert-dir /var/run/kubernetes/controllers --bind-address 127.0.0.1
    start scheduler kube-scheduler \
        --kubeconfig /etc/kubernetes/scheduler \
        --leader-elect=false --bind-address 127.0.0.1
    await containerd ctr version
    # In a loop, as a service manager would: the check kills it.
    start kubelet forever kubelet --config "$here/kubelet.yaml" \
        --kubeconfig /etc/kubernetes/kubelet \
        --node-ip 172.30.0.1 --hostname-override node1
    await 'the node' kubectl --kubeconfig /etc/kubernetes/admin get node node1
    # Pods are refused before their service account is there.
    await 'the service account' kubectl --kubeconfig /etc/kubernetes/admin get serviceaccount default
}

# credentials writes a token and a kubeconfig for each; the apiserver signs
# its own certificate.
credentials() {
    openssl genrsa -out /etc/kubernetes/sa.key 2048 2>/dev/null
    while read -r who user uid groups; do
        echo "token-$who,$user,$uid,$groups" >>/etc/kubernetes/tokens.csv
        cat >"/etc/kubernetes/$who" <<K
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: token-$who}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
K
    done <<U
admin admin 1 "system:masters"
kubelet system:node:node1 2 "system:nodes"
controllers system:kube-controller-manager 3
scheduler system:kube-scheduler 4
U
}

# start NAME CMD... runs CMD in the background.
start() {
    log=$dir/logs/$1.log
    shift
    "$@" >"$log" 2>&1 &
}

forever() {
    while :; do
        "$@" || :
        sleep 0.2
    done
}

# await WHAT CMD... until CMD succeeds, for two minutes at most.
await() {
    what=$1
    shift
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        sleep 0.2
    done
    echo "no answer from $what"
    exit 1
}

"$1"
