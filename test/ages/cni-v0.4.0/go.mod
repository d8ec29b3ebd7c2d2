module multus-cni/test/ages/cni-v0.4.0

go 1.24.2

tool (
	github.com/containernetworking/cni/plugins/ipam/host-local
	github.com/containernetworking/cni/plugins/main/bridge
	github.com/containernetworking/cni/plugins/main/macvlan
	github.com/containernetworking/cni/plugins/main/ptp
	github.com/containernetworking/cni/plugins/meta/flannel
)

require (
	github.com/containernetworking/cni v0.4.0 // indirect
	github.com/coreos/go-iptables v0.1.0 // indirect
	github.com/vishvananda/netlink v1.0.0 // indirect
	github.com/vishvananda/netns v0.0.0-20180720170159-13995c7128cc // indirect
	golang.org/x/sys v0.0.0-20190616124812-15dcb6c0061f // indirect
)
