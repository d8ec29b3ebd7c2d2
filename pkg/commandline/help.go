// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package commandline

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/containernetworking/cni/pkg/version"
)

func (p *program) version(args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Sprintf("version takes no argument such as %q", args[0])}
	}
	return p.say("multus %s\nCNI spec: %s\nbuilt with %s for %s/%s", p.about,
		strings.Join(version.All.SupportedVersions(), ", "), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func (p *program) help(args []string) error {
	if len(args) > 1 {
		return &usageError{"help takes one command"}
	}
	topic := "help"
	if len(args) == 1 {
		topic = strings.TrimLeft(args[0], "-")
	}
	page := page(topic)
	if page == "" {
		return &usageError{fmt.Sprintf("there is no command %q", topic)}
	}
	return p.say("%s", page)
}

// page is the help of a command. Each fits a screen of 24 lines.
func page(command string) string {
	switch command {
	case "help", "h":
		return helpPage
	case "validate":
		return validatePage
	case "list":
		return listPage
	case "install":
		return installPage
	case "uninstall":
		return uninstallPage
	case "version":
		return versionPage
	}
	return ""
}

const helpPage = `multus is a CNI plugin that gives a pod several network interfaces by calling
other CNI plugins, its delegates. Container runtimes run it, with CNI_COMMAND
set. For people it has these commands:

  multus validate CONF...    find all mistakes in a conf
  multus list                show the attached pods of this node
  multus install CONF        put binary and conf where the runtime finds them
  multus uninstall           take them away again
  multus version             show the version
  multus help [COMMAND]      show this, or how a command is used

Each exits with 0, with 1 after an error, and with 2 when it was called in a
wrong way. More is in multus(8).`

const validatePage = `usage: multus validate [--cni-path DIR:DIR] [--json] CONF...

Finds all mistakes in a conf at once and says where each one is and what to do.
CONF is a file that ends in .conf, .json or .conflist, or - for stdin.

  --cni-path DIR:DIR   where the plugins are (default $CNI_PATH, then
                       /opt/cni/bin); each is asked for its VERSION
  --json               write a report for programs to stdout

Errors keep pods from starting: what multus refuses; text that is not JSON;
plugins that are not there, IPAM and nested ones too, or that do not speak the
CNI version that they would get.
Warnings: delegates that share a name, overlapping host-local subnets, two
flannels with one dataDir, capabilities that the runtime will not send or no
delegate takes, a file in the same folder that the runtime reads instead, keys
that look misspelt.

Exits with 0, or with 1 when a conf has errors. Findings go to stderr.

  multus validate /etc/cni/net.d/10-multus.conf`

const listPage = `usage: multus list [--cni-dir DIR] [--wide] [--json]

Shows the interfaces of all pods that multus has attached on this node, from
its records: container, pod (when the runtime told its name), interface, plugin,
addresses and the time since ADD.

  --cni-dir DIR   where the records are (default /var/lib/cni/multus; it is
                  cniDir in the conf)
  --wide          cut nothing to fit 80 columns
  --json          write all that is known to stdout

STATE is empty for what is simply attached. Else it is
  partial   the ADD is running, was killed, or failed and could not be undone
  stale     the pod has gone without a DEL, by a reboot for example
  damaged   the record cannot be read
  aside     a damaged record that a DEL has put aside
  2017      a record of the multus of 2017`

const installPage = `usage: multus install [--bin-dir DIR] [--conf-dir DIR] [--wait] CONF

Validates CONF, then puts this binary and last the conf in place. Each appears
whole (it is renamed into place), so this also upgrades a node at work. What is
in place already stays as it is. The conf keeps the name of its file.

  --bin-dir DIR    where the runtime looks for plugins (default /opt/cni/bin)
  --conf-dir DIR   where the runtime looks for confs (default /etc/cni/net.d)
  --wait           keep running: put back what is removed or changed, install
                   CONF again when it changes, end on SIGTERM

Refuses a conf with errors, and one that the runtime would not read because
another file in the folder sorts before it.

  multus install --bin-dir /opt/cni/bin --conf-dir /etc/cni/net.d 00-multus.conf`

const uninstallPage = `usage: multus uninstall [--bin-dir DIR] [--conf-dir DIR] [--cni-dir DIR]

Removes the confs of multus, so that no further pod is attached, and then the
binary. While records of pods are left it removes nothing and exits with 1: to
delete a pod the runtime needs the binary, and containerd the conf too. So drain
the node first. Stop what would put the files back (install --wait) before that.

  --bin-dir DIR    where the binary is (default /opt/cni/bin)
  --conf-dir DIR   where the confs are (default /etc/cni/net.d)
  --cni-dir DIR    where else to look for records, DIR:DIR for several (default:
                   where the confs say; without confs /var/lib/cni/multus)`

const versionPage = `usage: multus version

Shows the version of multus, the versions of the CNI spec that it speaks, and
what it was built with and for.`
