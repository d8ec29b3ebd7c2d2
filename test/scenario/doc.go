// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package scenario shows, clause by clause, that the multus binary behaves as
// doc/behaviour.md says. Each file in testdata is one scenario, a testscript
// that opens with the number of the clause and a sentence. Its delegates are
// fakes that keep a log and misbehave as their configuration tells them to.
//
// A scenario runs in a network and a mount namespace of its own: it finds an
// empty /run and an empty /var/lib/cni, and one pod, /run/netns/pod. What real
// plugins do is not shown here.
//
// # Commands
//
// Beside those of testscript (`go doc testscript`), a scenario can use:
//
//	[!] cni VERB CONF [KEY=VALUE...] [>FILE]
//	            runs multus on that conf, in which $NAME stands for the
//	            variable of that name. CONF - is an empty one. multus's stdout
//	            is /dev/null or the like with >FILE, and a pipe that nobody
//	            reads any more with >broken-pipe. With & at the end: testscript.
//	error CODE REGEXP
//	            stdout was one JSON document, a CNI error of that code and
//	            message.
//	details REGEXP
//	            its details.
//	refuses TABLE
//	            ADD refuses each conf of a table, whose lines are
//	            CODE | REGEXP | CONF, before anything has run.
//	[!] calls [FILE]
//	            the delegates were called since the last `calls` as the file
//	            says, or not at all with !. A line is: verb, container,
//	            interface, type, name, cniVersion, then "netns" when CNI_NETNS
//	            is a network namespace or "netns-gone" when it is not (any
//	            more), "in-pod" when the delegate itself ran in it, and "prev"
//	            when it got a prevResult. "over NAME" is the end of a process
//	            that was held.
//	got/VERB-TYPE-IFNAME
//	            is a file: what the last such call had on its stdin.
//	same-env VERB-TYPE-IFNAME [KEY...]
//	            that call had multus's own environment, except for these keys.
//	[!] records [FILE]
//	            what is in the record folder, or nothing with !.
//	cmpjson FILE1 FILE2
//	            both are one JSON document with the same keys, literals and
//	            order; only white space may differ.
//	[!] links [FILE], [!] defaults [FILE]
//	            the pod's interfaces with their addresses, its default routes.
//	snapshot    prints all of the pod's interfaces, addresses and routes.
//	pod IFNAME OP...
//	            changes the pod as somebody else would: see the fake's link,
//	            addr and default.
//	netns NAME, netns -d NAME
//	            makes and deletes /run/netns/NAME.
//	plugins TYPE...
//	            puts more fakes on CNI_PATH than sriov, ptp, flannel, tuning
//	            and flannel@0.4.0.
//	await NAME, release NAME
//	            waits for a process that is held, and lets it go.
//	stuck       what was last started in the background calls nobody, and does
//	            not end.
//	signal NAME sends that signal to what runs in the background.
//	busy TYPE, idle TYPE
//	            starts and ends writing to the binary of that type.
//
// # Fakes
//
// A fake looks for its verb in the object "fake" of its configuration and does
// what it finds there, one string or a list of them:
//
//	link                  makes the interface, a veth
//	unlink IFNAME         removes any interface
//	addr ADDRESS/BITS     gives it an address
//	default GATEWAY [excl|replace|append] [metric N] [table N] [proto ra]
//	                      adds a default route, as plugins of today do: without
//	                      NLM_F_EXCL, or with the flag named
//	route DST GATEWAY, dns SERVER
//	                      just says so in its result, as addr and default do
//	                      where there is no link
//	print TEXT            prints that and no result
//	spew BYTES            prints that much, of ADD as a result, and nothing else
//	stderr TEXT           writes that on stderr
//	flood BYTES           writes that much on stderr
//	error CODE TEXT       prints that CNI error, with "says TYPE" as its details,
//	                      and exits with 1
//	exit CODE             exits without a word
//	kill                  dies of SIGKILL
//	while FILE OP...      does something while that file is in $WORK
//	obey FILE             does what that file in $WORK says, one a line, if it
//	                      is there
//	insist                fails where the interface is not in the netns, as
//	                      host-device does on DEL
//	deaf                  ignores SIGTERM and SIGINT from here on
//	hold NAME             waits to be released
//	ipam NAME             runs a child to its end that waits to be released,
//	                      and that outlives its parent if need be
//	leave NAME            starts such a child and does not wait for it; the
//	                      child keeps every file open that it inherited
//	orphan NAME           starts such a child, and dies as soon as multus has
//	forget NETNS          deletes the name of that network namespace
//	steal IFNAME GATEWAY  puts its default route through that interface in the
//	                      place of the one that is there
//	fill FILE             makes that file as large as the disk allows
//
// ADD then prints a result made of this and of the prevResult; DEL removes the
// interface. A type that ends in @VERSION speaks no newer
// version than that; one that ends in @V,V,... says that it speaks these.
// With FAKE_UNREAD="VERB TYPE" in its environment it closes stdin unread, and
// makes or removes its interface.
//
// # Faults
//
// TestFaults is a matrix that is made of its axes: each delegate's place, each
// verb, each fault and each state of the machine around. doc/reliability.md
// has more of it. In the environment it is told
//
//	MULTUS_FAULTS         "all", or a regular expression for the names of the
//	                      cells that shall run; without it, some of them do
//	MULTUS_FAULTS_SEED    chooses these
//
// # Model
//
// TestModel draws sequences of calls, faults and kills, and compares after each
// call what is there with a model of it: see model_world_test.go. A failure is
// made as short as it goes, and comes with the seed that leads to it. In the
// environment it is told
//
//	MULTUS_MODEL          how many sequences there shall be
//	RAPID_SEED            where they begin (or -rapid.seed)
package scenario
