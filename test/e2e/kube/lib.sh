# shellcheck shell=sh
# SPDX-FileCopyrightText: The multus-cni authors
# SPDX-License-Identifier: Apache-2.0

# A real Kubernetes node to throw away, for a check to source. $kube is the
# directory of this file.
#
# On the machine itself:
#   node_prepare               packages and the binary; exits 3 if it cannot
#   ../docker/box NAME CMD     CMD on a machine of its own, for what follows
# and there:
#   node_start                 the node is up, with busybox, and without a CNI conf
#   node_plugins FILE...       into its /opt/cni/bin
#   node_conf NAME <CONF       into its /etc/cni/net.d
#   node_import ARCHIVE        a container image
#   node_logs DIR              what each component said, copied there
#   kubectl ARGS...            as the administrator
#
# Nothing has to be stopped: it ends with the box.
: "${kube:?}"

# node_prepare installs what is missing and ensures that the binary exists.
node_prepare() {
    "$kube/../docker/debs" containerd runc busybox-static iptables nftables openssl iproute2
    node_binary
}

node_precondition() {
    echo "precondition: $*"
    exit 3
}

# node_binary builds the components, once for each version of them and of Go:
# it takes minutes. It is kept outside the clone, which may be a new one every
# time. A second caller waits for the first.
node_binary() {
    [ "$(id -u)" = 0 ] || node_precondition 'needs root'
    command -v go >/dev/null || node_precondition 'needs go'
    node_version=$(sed -n 's|^\tk8s.io/kubernetes ||p' "$kube/node/go.mod")
    sum=$(cat "$kube"/node/* | sha256sum | cut -c1-12)
    node_cache=${E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/multus-e2e}/kube
    node_bin=$node_cache/$node_version-$(cd "$kube/node" && go env GOVERSION)-$sum
    mkdir -p "$node_cache"
    (
        flock 9
        [ ! -e "$node_bin" ] || exit 0
        node_space
        rm -rf "$node_cache"/v* # older ones
        echo "building Kubernetes $node_version, once: 10 to 15 minutes" >&2
        "$kube/node/build" "$node_bin.new" 9>&-
        mv "$node_bin.new" "$node_bin"
    ) 9>"$node_cache/lock"
}

# node_space: sources 1 GB, build cache 3 GB.
node_space() {
    for d in "$(go env GOCACHE)" "$(go env GOMODCACHE)" "$node_cache"; do
        mkdir -p "$d"
        free=$(df -Pk "$d" | awk 'NR == 2 { print int($4 / 1000000) }')
        [ "$free" -ge 4 ] || node_precondition "needs 4 GB of disk to build Kubernetes, $d has $free GB"
    done
}

# node_start returns when the node is up and has its images.
node_start() {
    export PATH="$node_bin:$PATH" KUBECONFIG=/etc/kubernetes/admin HOME=/run # kubectl keeps a cache there
    node_mounts
    node_sysctls
    node_cgroup
    node_links
    mkdir -p /etc/kubernetes /run/netns /run/node
    node_credentials
    node_components
    # The sandbox is ended with SIGKILL, so a sleep will do in it.
    node_busybox localhost/pause:e2e '"Entrypoint":["sleep","2147483647"]'
    node_busybox docker.io/library/busybox:latest '"Cmd":["sh"]'
}

# node_mounts: nothing that the machine has in these places may show, a CNI
# conf, say; and an overlay is no place for containerd's own overlays.
node_mounts() {
    mount --make-rshared / # the kubelet wants it; the box has mounts of its own
    for d in /etc/cni/net.d /etc/cni/plain.d /opt/cni/bin \
        /var/lib/cni /var/lib/containerd /var/lib/etcd /var/lib/kubelet; do
        mkdir -p "$d"
        mount -t tmpfs -o mode=700 tmpfs "$d"
    done
}

# node_sysctls gives the kubelet files of its own to write: it sets these for
# the whole machine, without a namespace.
node_sysctls() {
    for s in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
        kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
        f=/run/sysctl.$(echo "$s" | tr / .)
        cat "/proc/sys/$s" >"$f"
        mount --bind "$f" "/proc/sys/$s"
    done
}

# node_cgroup makes the cgroup that the kubelet keeps to; the box removes it.
node_cgroup() {
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        sed 's/[^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
        mkdir -p "/sys/fs/cgroup/${E2E_CGROUP:?}"
    else
        for c in /sys/fs/cgroup/*/; do mkdir -p "$c/${E2E_CGROUP:?}"; done
    fi
}

# node_links makes the node's own address, and lan0, which stands for a physical
# network card for macvlan to sit on.
node_links() {
    for l in node0 lan0; do
        ip link add "$l" type veth peer name "${l}p"
        ip link set "$l" up
        ip link set "${l}p" up
    done
    ip addr add 172.30.0.1/24 dev node0
    echo 1 >/proc/sys/net/ipv4/ip_forward
}

# node_credentials writes a token and a kubeconfig for each; the apiserver signs
# its own certificate.
node_credentials() {
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

node_components() {
    node_spawn containerd containerd --config "$kube/containerd.toml"
    # unsafe-no-fsync: nobody needs the store after a power cut.
    node_spawn etcd etcd --name node1 --data-dir /var/lib/etcd/data --unsafe-no-fsync
    node_spawn apiserver kube-apiserver \
        --etcd-servers http://127.0.0.1:2379 \
        --cert-dir /run/kubernetes \
        --bind-address 127.0.0.1 --advertise-address 172.30.0.1 \
        --service-cluster-ip-range 10.96.0.0/24 \
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
        --token-auth-file /etc/kubernetes/tokens.csv \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file /etc/kubernetes/sa.key \
        --service-account-signing-key-file /etc/kubernetes/sa.key \
        --allow-privileged --kubelet-preferred-address-types InternalIP
    await 120 'the apiserver' kubectl get --raw /readyz
    node_spawn controllers kube-controller-manager \
        --kubeconfig /etc/kubernetes/controllers \
        --service-account-private-key-file /etc/kubernetes/sa.key \
        --root-ca-file /run/kubernetes/apiserver.crt \
        --use-service-account-credentials --leader-elect=false \
        --cert-dir /run/kubernetes/controllers --bind-address 127.0.0.1
    node_spawn scheduler kube-scheduler \
        --kubeconfig /etc/kubernetes/scheduler \
        --leader-elect=false --bind-address 127.0.0.1
    await 60 containerd ctr version
    # In a loop, as a service manager would: a check may kill it.
    node_spawn kubelet node_forever kubelet --config "$kube/kubelet.yaml" \
        --cgroup-root "/$E2E_CGROUP" \
        --kubeconfig /etc/kubernetes/kubelet \
        --node-ip 172.30.0.1 --hostname-override node1
    await 120 'the node' kubectl get node node1
    # Pods are refused before their service account exists.
    await 120 'the service account' kubectl get serviceaccount default
}

# node_spawn NAME CMD... runs CMD in the background.
node_spawn() {
    log=/run/node/$1.log
    shift
    "$@" </dev/null >"$log" 2>&1 &
}

node_forever() {
    while :; do
        "$@" || :
        sleep 0.2
    done
}

node_plugins() {
    cp "$@" /opt/cni/bin/
}

# node_conf PATH puts stdin there, and returns when containerd has read it. The
# path may be relative to /etc/cni/net.d. Renamed into place, for containerd reads
# half a file if it can; within the directory, for it is the event of the old name
# that containerd 1.6 goes by.
node_conf() {
    case $1 in /*) conf=$1 ;; *) conf=/etc/cni/net.d/$1 ;; esac
    reads=$(node_conf_reads)
    cat >"$conf.new"
    mv "$conf.new" "$conf"
    await 20 "containerd to read $conf" node_conf_read
}

node_conf_reads() {
    grep -c "receiving change event from cni conf dir: RENAME .*$conf.new" /run/node/containerd.log || :
}

node_conf_read() {
    [ "$(node_conf_reads)" -gt "$reads" ]
}

node_import() {
    ctr --namespace k8s.io images import "$1" >/dev/null
}

# node_busybox NAME CONFIG makes a docker archive of busybox and imports it.
node_busybox() (
    w=$(mktemp -d)
    mkdir -p "$w/root/bin" "$w/root/tmp"
    cp "$(command -v busybox)" "$w/root/bin/busybox"
    for c in $(busybox --list); do
        [ "$c" = busybox ] || ln -s busybox "$w/root/bin/$c"
    done
    tar -C "$w/root" --owner=0 --group=0 --numeric-owner -cf "$w/layer.tar" .
    cat >"$w/config.json" <<J
{"architecture": "$(dpkg --print-architecture)", "os": "linux",
 "config": {"Env": ["PATH=/bin"], $2},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum "$w/layer.tar" | cut -d' ' -f1)"]}}
J
    echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$1\"], \"Layers\": [\"layer.tar\"]}]" >"$w/manifest.json"
    tar -C "$w" -cf "$w/image.tar" manifest.json config.json layer.tar
    node_import "$w/image.tar"
    rm -r "$w"
)

node_logs() {
    rm -rf "$1"
    cp -r /run/node "$1"
}

# await SECONDS WHAT CMD... until CMD succeeds.
await() {
    await_end=$(($(date +%s) + $1))
    await_what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ "$(date +%s)" -ge "$await_end" ]; then
            echo "waited in vain for $await_what" >&2
            return 1
        fi
        sleep 0.2
    done
}
