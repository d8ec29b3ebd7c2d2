# shellcheck shell=sh
# SPDX-FileCopyrightText: The multus-cni authors
# SPDX-License-Identifier: Apache-2.0

# Day one, for `inside` to source: the node has flannel and pods, as nodes have,
# before multus comes. The five commands are those of README.md, the overlay is
# that of doc/kubernetes/README.md.
: "${root:?}" "${limit:?}" "${cluster:?}" "${installed:?}" "${roll_conf:?}"

day_one() {
    flannel_alone
    first_three
    adopt
    red
    upgrade
    removal
    five
}

# flannel_alone: the conf that flannel's manifest installs, with portmap, and pods
# on it. The storage network has its gateway behind lan0.
flannel_alone() {
    ip address add 192.168.1.1/24 dev lan0p
    node_conf 10-flannel.conflist <<J
{
  "name": "cbr0",
  "cniVersion": "0.3.1",
  "plugins": [
    { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
J
    kubectl wait --for=condition=Ready node/node1 --timeout="$limit" >/dev/null || fail 'the node stays without a network'
    pod old
    web old-web 8081
    ready old old-web
    networks_of old lo eth0
    answers old-web 8081
}

# first_three runs compose, validate and try as README.md shows them.
first_three() {
    mkdir -p "$cluster/bin"
    cp "${E2E_MULTUS:-$root/bin/multus}" "$cluster/bin/multus"
    block_of "$root/README.md" '"name": "storage"' | sed 's/"master": "eth0"/"master": "lan0"/' >"$cluster/storage.conf"
    grep -q lan0 "$cluster/storage.conf" || fail "README.md has no storage.conf: $(cat "$cluster/storage.conf")"
    readme_command 1
    readme_command 2
    grep -q 'not installed\|not in /opt/cni/bin' /run/said || fail "validate does not warn that multus is not installed: $(cat /run/said)"
    readme_command 3
    # Here cni0 is not new, as it is where no pod has run yet.
    readme_text 'container multus-try-' | grep -v '^new interfaces on the node' >/run/text
    shape </run/text >/run/try.want
    [ -s /run/try.want ] || fail 'README.md does not show what try prints'
    shape </run/said >/run/try.have
    while IFS= read -r line; do
        grep -qxF -e "$line" /run/try.have || fail "README.md shows this line of try: $line; and try prints: $(cat /run/said)"
    done </run/try.want
    proved 'flannel alone, with pods: compose, validate and try as README.md shows them; try leaves nothing'
}

# readme_command N runs the Nth of the five commands in $cluster.
readme_command() {
    awk '/^    bin\/multus compose/ { on = 1 } on && !/^    / { exit } on { print substr($0, 5) }' "$root/README.md" >/run/five
    [ "$(wc -l </run/five)" = 5 ] || fail "README.md does not have the five commands: $(cat /run/five)"
    (cd "$cluster" && sed -n "$1p" /run/five | sh -eu) >/run/said 2>&1 || fail "$(sed -n "$1p" /run/five): $(cat /run/said)"
}

# compose SECONDARY... makes the conf, as the first command does of one.
compose() {
    (cd "$cluster" && bin/multus compose /etc/cni/net.d/10-flannel.conflist "$@" >00-multus.conf) || fail "compose $*"
}

# readme_text WORD prints the block of text with WORD, which belongs to a list.
readme_text() {
    awk -v "word=$1" '/^   ```/ { if (on && index(block, word)) { printf "%s", block; exit } on = !on; block = ""; next }
        on { block = block substr($0, 4) "\n" }' "$root/README.md" | grep -vx -e '[.][.][.]' | grep . || fail "README.md has no text with $1"
}

# shape leaves out what differs from run to run: MAC addresses, ids, times, and
# which of the pool's addresses was the next. Ids are cut on a terminal alone.
shape() {
    sed -E 's/([0-9a-f]{2}:){5}[0-9a-f]{2}/MAC/; s/multus-try-[0-9a-f]+/multus-try-ID/; s/^[0-9a-f]{13,64} /CONTAINER /
        s/10\.244\.1\.([2-9]|[0-9]{2,})\/24/10.244.1.N\/24/; s/192\.168\.1\.2[01][0-9]\/24/192.168.1.N\/24/
        s/ [0-9]+ ms/ N ms/g; s/ +[0-9]+m?[0-9]*s$/ N/; s/ +/ /g; s/ $//'
}

# adopt rolls multus out over the pods.
adopt() {
    page_block 'overlays/containerd' >"$cluster/kustomization.yaml"
    apply
    page_lines 'kubectl apply -k' >/run/want
    sed -E 's/multus-[0-9a-z]{10}/multus-HASH/' /run/applied | diff /run/want - || fail 'kubectl apply -k prints other than doc/kubernetes/README.md shows (<)'
    page_lines 'kubectl -n kube-system rollout status' >/run/want
    tail -n 1 /run/status | diff /run/want - || fail 'kubectl rollout status ends otherwise than doc/kubernetes/README.md shows (<)'
    cmp -s "$cluster/00-multus.conf" "$roll_conf" || fail "rolled out, and the conf on the node is another one: $(cat "$roll_conf")"
    pod new
    web new-web 8082
    ready new new-web
    networks_of new lo eth0 net0
    one_default new
    networks_of old lo eth0
    [ "$(address_of old)" != "$(address_of new)" ] || fail "old and new pod have the address $(address_of old)"
    [ "$(address_of old-web)" != "$(address_of new-web)" ] || fail "old and new pod have the address $(address_of new-web)"
    ping_over eth0 old new
    ping_over eth0 new old
    answers old-web 8081
    answers new-web 8082
    proved 'kubectl apply -k, kubectl rollout status: pods of before and new ones have different addresses and reach each other; hostPorts of both answer'
    was="$(address_of old)|$(address_of old-web)"
    drop old old-web
    await 20 'the end of the pods of before' forgotten "$was" ||
        fail "pods of before, deleted through multus, leave $(left_of "$was")"
    # The runtime's own copies of their results: it looks for them under the name
    # of today's conf.
    [ "$(find /var/lib/cni/results -name 'cbr0-*-eth0' | wc -l)" -le 2 ] || fail "more results of before than pods: $(ls /var/lib/cni/results)"
    rm -f /var/lib/cni/results/cbr0-*-eth0
    networks_of new lo eth0 net0
    answers new-web 8082
    drop new new-web
    nothing_left 'after the pods of before and the first new ones'
    proved 'pods of before are deleted through multus: no lease, chain or rule of them is left'
}

forgotten() {
    [ -z "$(left_of "$1")" ]
}

# left_of ADDRESSES prints what the node has of pods with these: leases, rules
# and chains, the port of old-web.
left_of() {
    leftovers | grep -E "(${1})(/32|:80)?( |\$)|8081" || :
}

# page_lines COMMAND prints the output that doc/kubernetes/README.md shows below it.
page_lines() {
    awk -v "command=    $ $1" 'index($0, command) == 1 { on = 1; next } on && (!/^    / || /^    \$/) { exit } on { print substr($0, 5) }' \
        "$root/doc/kubernetes/README.md" | sed -E 's/multus-[0-9a-z]{10}/multus-HASH/' | grep . ||
        fail "doc/kubernetes/README.md does not show what $1 prints"
}

# red rolls out what must not work: rollout status fails, the pod of the DaemonSet
# says why, and the pods of the node go on with the conf that they had.
red() {
    cp "$roll_conf" /run/good.conf
    cp "$root/doc/kubernetes/base/00-multus.conf" "$cluster/00-multus.conf"
    stopped_by 'values that are text must be in double quotes'
    page_lines "$(page_command 'describe pods')" | squeezed >/run/want
    page_command 'describe pods' | sh -eu | squeezed | diff /run/want - ||
        fail 'kubectl describe pods prints other than doc/kubernetes/README.md shows (<)'
    kubectl -n kube-system rollout undo daemonset/multus >/dev/null || fail 'kubectl rollout undo'
    rolled_out
    spoil 's/"masterplugin": true/"masterplugin": false/'
    stopped_by 'masterplugin'
    spoil 's/"lan0"/"ens4"/'
    stopped_by '"master" "ens4"'
    spoil 's/"name": "cbr0"/"name": "demo"/'
    stopped_by 'IPAM plugins keep addresses by that name'
    pod meanwhile
    ready meanwhile
    networks_of meanwhile lo eth0 net0
    drop meanwhile
    cp /run/good.conf "$cluster/00-multus.conf"
    apply
    proved 'kubectl rollout status turns red, the pod says why and pods come and go as before: for the conf as it is in base, one that validate refuses, a master that the node lacks, a network with another name; rollout undo'
}

# page_command WORD prints the command of doc/kubernetes/README.md with WORD.
page_command() {
    sed -n 's/^    \$ \(kubectl\)/\1/p' "$root/doc/kubernetes/README.md" | grep -F "$1" || fail "doc/kubernetes/README.md has no command with $1"
}

# squeezed: the last two states of a container may have the same message.
squeezed() {
    sed -E 's/^ +//; s/ +/ /g' | grep -vx -e -- | sort -u
}

# spoil EXPRESSION makes a bad conf of the good one.
spoil() {
    sed "$1" /run/good.conf >"$cluster/00-multus.conf"
    ! cmp -s /run/good.conf "$cluster/00-multus.conf" || fail "$1 changes nothing in $(cat /run/good.conf)"
}

# stopped_by REASON rolls out what is in $cluster.
stopped_by() {
    kubectl apply -k "$cluster" >/dev/null || fail 'kubectl apply -k of a bad conf'
    await 60 "the reason $1" says "$1" || fail "the pods of the DaemonSet do not say '$1': $(multus_pods)"
    if kubectl -n kube-system rollout status daemonset/multus --timeout=3s >/run/status 2>&1; then
        fail "rollout status is green for a conf that is refused: $1"
    fi
    cmp -s /run/good.conf "$roll_conf" || fail "a conf with an error is installed: $(cat "$roll_conf")"
}

says() {
    kubectl -n kube-system describe pods -l app=multus | grep -q "$1"
}

# five runs all five commands of README.md on the node, which has flannel alone.
five() {
    readme_command 1
    readme_command 2
    readme_command 3
    readme_command 4
    pod web-0
    ready web-0
    networks_of web-0 lo eth0 net0
    readme_command 5
    readme_text 'CONTAINER      POD' >/run/text
    shape </run/text >/run/list.want
    shape </run/said | diff /run/list.want - || fail 'multus list prints other than README.md shows (<)'
    drop web-0
    "$installed" uninstall >/run/said 2>&1 || fail "uninstall: $(cat /run/said)"
    nothing_left 'after the five commands'
    proved 'the five commands of README.md, on a node with flannel: a pod gets eth0 and net0'
}

# web NAME PORT creates a pod that answers its name on PORT of the node.
web() {
    kubectl create -f - >/dev/null <<Y
apiVersion: v1
kind: Pod
metadata: { name: $1 }
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo $1 >/tmp/index.html; exec httpd -f -p 80 -h /tmp"]
    ports: [{ containerPort: 80, hostPort: $2 }]
Y
}

answers() {
    await 20 "$1 at port $2 of the node" answered "$1" "$2" || fail "hostPort $2 of $1 does not answer: $(iptables-save -t nat)"
}

# answered NAME PORT: Debian's static busybox crashes in wget, and the machine need
# not have another one.
answered() {
    # shellcheck disable=SC2016 # the dollar is bash's
    timeout 3 bash -c 'exec 3<>"/dev/tcp/172.30.0.1/$0" && printf "GET / HTTP/1.0\r\n\r\n" >&3 && cat <&3' "$2" | grep -qx "$1"
}

address_of() {
    kubectl get pod "$1" -o 'go-template={{.status.podIP}}'
}
