// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

// Package scenario shows, clause by clause, that multus behaves as
// doc/behaviour.md says. Each file in testdata is one scenario, a testscript
// that opens with the number of the clause and a sentence. Its delegates are
// the fakes of test/fake, which keep a log and misbehave as their configuration
// tells them to.
//
// A scenario runs in a sandbox, with one pod, /run/netns/pod. What real plugins
// do is not shown here.
//
// # Commands
//
// Beside those of testscript (`go doc testscript`), a scenario can use:
//
//	[!] cni VERB CONF [KEY=VALUE...] [>FILE] [2>FILE]
//	            runs multus on that conf, in which $NAME stands for the
//	            variable of that name. CONF - is an empty one. multus's stdout
//	            is /dev/null or the like with >FILE, and a pipe that nobody
//	            reads any more with >broken-pipe; its stderr is FILE with 2>FILE.
//	            With & at the end: testscript.
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
//	calls-in-any-order FILE
//	            the same for calls that run side by side: their lines, sorted.
//	got/VERB-TYPE-IFNAME
//	            is a file: what the last such call had on its stdin.
//	same-env VERB-TYPE-IFNAME [KEY...]
//	            that call had multus's own environment, except for these keys.
//	[!] records [FILE]
//	            what is in the record directory, or nothing with !.
//	cmpjson FILE1 FILE2
//	            both are one JSON document with the same keys, literals and
//	            order; only white space may differ.
//	[!] links [FILE], [!] defaults [FILE]
//	            the pod's interfaces with their addresses, its default routes.
//	snapshot    prints all of the pod's interfaces, addresses and routes.
//	pod IFNAME OP...
//	            changes the pod as somebody else would: see the fake's link,
//	            addr, mac and default; altname NAME; no-default GATEWAY.
//	netns NAME, netns -d NAME
//	            makes and deletes /run/netns/NAME.
//	plugins TYPE...
//	            puts more fakes on CNI_PATH than sriov, ptp, flannel, tuning
//	            and flannel@0.4.0.
//	await NAME, release NAME
//	            waits for a process that is held, and lets it go.
//	await-text FILE TEXT
//	            waits until the file has that text.
//	stuck       what was last started in the background calls nobody, and does
//	            not end.
//	signal NAME sends that signal to what runs in the background.
//	busy TYPE, idle TYPE
//	            starts and ends writing to the binary of that type.
package scenario
