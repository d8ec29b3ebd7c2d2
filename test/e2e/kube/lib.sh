# shellcheck shell=sh
# SPDX-FileCopyrightText: The multus-cni authors
# SPDX-License-Identifier: Apache-2.0

# A real Kubernetes node to throw away, for a check to source:
#
#   lib=.../test/e2e/kube      where this file is
#   . "$lib/lib.sh"
#   trap node_stop EXIT        and the signals
#   node_prepare               packages and the binary; exits 3 if it cannot
#   node_start                 the node is up, with busybox, and without a CNI conf
#   node_plugins FILE...       into its /opt/cni/bin
#   node_conf NAME <CONF       into its /etc/cni/net.d
#   kubectl ARGS...            as its administrator
#   node_run CMD...            on the node; it sees this machine's files
#   node_import ARCHIVE        a container image
#
# $node_dir/logs has what each component says, while the node runs.
: "${lib:?}"

# node_prepare installs what is missing and sees that the binary is there.
node_prepare() {
    [ "$(id -u)" = 0 ] || node_precondition 'must be root'
    command -v go >/dev/null || node_precondition 'needs go'
    for g in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
        [ ! -e "$g" ] || node_precondition "a kubelet's cgroup is there already: $g"
    done
    node_packages
    node_binary
}

node_precondition() {
    echo "precondition: $*"
    exit 3
}

node_packages() {
    missing=
    for c in containerd runc iptables openssl ip:iproute2 flock:util-linux; do
        command -v "${c%:*}" >/dev/null || missing="$missing ${c#*:}"
    done
    # A static one: it is all that there is in the image.
    dpkg -s busybox-static >/dev/null 2>&1 || missing="$missing busybox-static"
    [ -n "$missing" ] || return 0
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    # shellcheck disable=SC2086 # a list
    apt-get -qq -o DPkg::Lock::Timeout=600 install -y --no-install-recommends $missing >/dev/null
}

# node_binary builds the components, once for each version of them and of Go:
# it takes minutes. It is kept outside the clone, which may be a new one every
# time. A second caller waits for the first.
node_binary() {
    kube_version=$(sed -n 's|^\tk8s.io/kubernetes ||p' "$lib/node/go.mod")
    sum=$(cat "$lib/node/go.sum" "$lib/node/main.go" | sha256sum | cut -c1-12)
    cache=${E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/multus-e2e}/kube
    node_bin=$cache/$kube_version-$(cd "$lib/node" && go env GOVERSION)-$sum
    mkdir -p "$cache"
    (
        flock 9
        [ ! -e "$node_bin" ] || exit 0
        node_space
        rm -rf "$cache"/v* # older ones
        node_build "$node_bin.new" 9>&-
        mv "$node_bin.new" "$node_bin"
    ) 9>"$cache/lock"
}

# node_space: sources 1 GB, build cache 3 GB.
node_space() {
    for d in "$(go env GOCACHE)" "$(go env GOMODCACHE)" "$cache"; do
        mkdir -p "$d"
        free=$(df -Pk "$d" | awk 'NR == 2 { print int($4 / 1000000) }')
        [ "$free" -ge 4 ] || node_precondition "needs 4 GB of disk to build Kubernetes, $d has $free GB"
    done
}

node_build() {
    echo "building Kubernetes $kube_version once: 5 to 10 minutes" >&2
    mkdir "$1"
    minor=${kube_version#v1.}
    v=k8s.io/component-base/version
    # The tags are those of the released binaries. Nice: other checks run meanwhile.
    (
        cd "$lib/node" || exit
        GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0 nice -n 15 go build \
            -trimpath -buildvcs=false -tags notest,grpcnotrace \
            -ldflags "-s -w -X $v.gitVersion=$kube_version -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*} \
                -X k8s.io/client-go/pkg/version.gitVersion=$kube_version" \
            -o "$1/kube" .
    )
    for c in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet; do
        ln -s kube "$1/$c"
    done
}

# node_start returns when the node is up and has its images.
node_start() {
    node_dir=$(mktemp -d /tmp/multus-kube.XXXXXX)
    mkdir "$node_dir/logs"
    # In a session of its own, for Ctrl-C is not for it; it ends when we do.
    PATH="$node_bin:$PATH" setsid setpriv --pdeathsig TERM \
        "$lib/node.sh" supervise "$node_dir" >"$node_dir/logs/supervisor.log" 2>&1 &
    node_pid=$!
    until [ -e "$node_dir/ready" ]; do
        if ! kill -0 "$node_pid" 2>/dev/null; then
            echo 'the node did not start' >&2
            return 1
        fi
        sleep 0.1
    done
    # The sandbox is ended with SIGKILL, so a sleep will do in it.
    node_busybox localhost/pause:e2e '"Entrypoint":["sleep","2147483647"]'
    node_busybox docker.io/library/busybox:latest '"Cmd":["sh"]'
}

# node_stop ends the node and all that is in it; it may be called at any time.
node_stop() {
    [ -n "${node_pid:-}" ] || return 0
    kill -TERM "$node_pid" 2>/dev/null || :
    wait "$node_pid" || :
    node_pid=
}

# node_run: kubectl would leave its cache in the caller's home.
node_run() {
    nsenter -t "$(cat "$node_dir/init.pid")" -m -n -p -- \
        env HOME=/run KUBECONFIG=/etc/kubernetes/admin PATH="$node_bin:$PATH" "$@"
}

kubectl() {
    node_run kubectl "$@"
}

node_plugins() {
    node_run cp "$@" /opt/cni/bin/
}

# node_conf PATH puts stdin there, and returns when containerd has read it. The
# path may be relative to /etc/cni/net.d. Renamed into place, for containerd reads
# half a file if it can; within the folder, for it is the event of the old name
# that containerd 1.6 goes by.
node_conf() {
    case $1 in /*) conf=$1 ;; *) conf=/etc/cni/net.d/$1 ;; esac
    reads=$(node_conf_reads)
    # shellcheck disable=SC2016 # for the other shell
    node_run sh -c 'cat >"$1.new" && mv "$1.new" "$1"' sh "$conf"
    await 20 "containerd to read $conf" node_conf_read
}

node_conf_reads() {
    grep -c "receiving change event from cni conf dir: RENAME .*$conf.new" "$node_dir/logs/containerd.log" || :
}

node_conf_read() {
    [ "$(node_conf_reads)" -gt "$reads" ]
}

node_import() {
    node_run ctr --namespace k8s.io images import "$1" >/dev/null
}

# node_busybox NAME CONFIG makes a docker archive of busybox and imports it.
node_busybox() (
    w=$(mktemp -d "$node_dir/image.XXXXXX")
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
