// SPDX-FileCopyrightText: The multus-cni authors
// SPDX-License-Identifier: Apache-2.0

package real

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"multus-cni/test/sandbox"
)

// How large the load is. test/soak/run has the sizes that are worth a claim.
const (
	loadPairsEnv     = "MULTUS_LOAD_PAIRS"     // of ADD and DEL
	loadDelegatesEnv = "MULTUS_LOAD_DELEGATES" // in one pod
	loadAliveEnv     = "MULTUS_LOAD_ALIVE"     // attachments at once
)

const (
	// pairsAtOnce is how many pods are attached or detached at any time.
	pairsAtOnce = 50
	// aliveAtOnce is for those that must stay attached.
	aliveAtOnce = 8
	// perPair is a time in which a pair is certainly over when many run.
	perPair = 2 * time.Second
	// worthJudging is from how many ADDs on their median says something.
	worthJudging = 50
	// slower and larger is what would be growth, and not what else the machine does.
	slower, larger = 3.0, 1.25
)

// loadConfs are used in turn, by pods that share their bridges and address
// pools. The first one has two delegates, which both want to be the default
// route; of it multus's size is noted.
var loadConfs = []string{
	conf("1.1.0",
		`{"type": "bridge", "bridge": "br1", "isGateway": true, `+pool(1)+`}`,
		primary(`{"type": "measured", `+pool(2)+`}`)),
	conf("1.1.0",
		primary(`{"type": "bridge", "name": "wide", "bridge": "br2", "isDefaultGateway": true, `+withoutRoutes(pool(3))+`}`)),
}

// TestLoadPairs attaches and detaches pods, many at once.
func TestLoadPairs(t *testing.T) {
	pairs := int(fromEnv(t, loadPairsEnv, 16))
	inNodeFor(t, nodeTimeout+time.Duration(pairs)*perPair, func(t *testing.T, n *node) {
		n.measured(t)
		before := n.snapshot(t)
		workers := max(1, min(pairsAtOnce, pairs/2))
		l := &load{node: n, inUse: map[string]string{}}
		var pods []*pod
		for i := range workers {
			pods = append(pods, n.pod(t, "worker"+strconv.Itoa(i)))
		}
		start := time.Now()
		l.each("pairs", pairs, workers, func(worker, i int) { l.pair(t, &pod{netns: pods[worker].netns}, i) })
		took := time.Since(start)
		for _, p := range pods {
			n.nothingLeft(t, before, p)
		}
		adds, peaks := l.adds, l.peaks(t)
		tenth, quarter := max(1, len(adds)/10), max(1, len(peaks)/4)
		first, last := median(adds[:tenth]), median(adds[len(adds)-tenth:])
		early, late := slices.Max(peaks[:quarter]), slices.Max(peaks[len(peaks)-quarter:])
		t.Logf("%d pairs of ADD and DEL, %d at once, in %v: %d failures; median of an ADD %v in the first tenth and %v in the last, a factor of %.2f; peak memory of multus %d KiB in the first quarter and %d KiB in the last; at most %d files in the record directory",
			pairs, workers, took.Round(time.Second), l.failures, first.Round(time.Millisecond), last.Round(time.Millisecond), float64(last)/float64(first), early, late, l.files)
		if tenth >= worthJudging && float64(last) > slower*float64(first) {
			t.Errorf("an ADD takes %v at the end, %v at the start", last, first)
		}
		if float64(late) > larger*float64(early) {
			t.Errorf("multus needs %d KiB at the end, %d KiB at the start", late, early)
		}
		if most := 3 * workers; l.files > most { // record, lock and temporary file of each
			t.Errorf("%d files in the record directory, want at most %d", l.files, most)
		}
	})
}

// load is what goroutines that call multus have in common.
type load struct {
	node *node

	sync.Mutex
	inUse    map[string]string // addresses, by which attachment
	adds     []time.Duration   // in the order in which they ended
	files    int               // the most that were seen in the record directory
	failures int
}

// each calls f for the numbers below count, from so many goroutines. what is
// the name of a call in the progress that is shown.
func (l *load) each(what string, count, workers int, f func(worker, i int)) {
	next := make(chan int)
	var all sync.WaitGroup
	for worker := range workers {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range next {
				f(worker, i)
			}
		}()
	}
	for i := range count {
		sandbox.Progress(what, i, count, 0)
		next <- i
	}
	close(next)
	all.Wait()
	sandbox.Progress(what, count, count, 0)
}

func (l *load) pair(t *testing.T, p *pod, i int) {
	p.id = "load" + strconv.Itoa(i)
	c := loadConfs[i%len(loadConfs)]
	start := time.Now()
	result, ok := l.call(t, "ADD", p, c)
	took := time.Since(start)
	address := addressOf(result)
	l.Lock()
	l.adds = append(l.adds, took)
	if other, taken := l.inUse[address]; ok && (taken || address == "") {
		l.failures++
		t.Errorf("%s has the address %q, and so has %q", p.id, address, other)
	}
	l.inUse[address] = p.id
	l.files = max(l.files, len(l.node.records(t)))
	delete(l.inUse, "")
	l.Unlock()
	want := strings.Count(c, `"type"`) - strings.Count(c, "host-local") - 1 // that of multus
	if links := p.links(t); ok && len(links) != want {
		t.Errorf("%s has the interfaces %v, want %d", p.id, links, want)
	}
	l.Lock()
	delete(l.inUse, address)
	l.Unlock()
	l.call(t, "DEL", p, c)
}

// call runs multus, which must succeed.
func (l *load) call(t *testing.T, verb string, p *pod, c string) (result []byte, ok bool) {
	r := l.node.start(t, l.node.command(verb, p, c))
	if err := r.wait(t, verb); err != nil {
		t.Errorf("%s of %s: %v", verb, p.id, err)
		l.Lock()
		l.failures++
		l.Unlock()
		return nil, false
	}
	return r.stdout.Bytes(), true
}

// addressOf returns the first address of a result, "" when there is none.
func addressOf(result []byte) string {
	var r struct{ IPs []struct{ Address string } }
	if json.Unmarshal(result, &r) != nil || len(r.IPs) == 0 {
		return ""
	}
	return r.IPs[0].Address
}

// measured makes a plugin: a ptp that notes how much memory multus has needed
// until then. (The kernel's account of a process that has ended says no less
// than what its parent needed, which is more.)
func (n *node) measured(t *testing.T) {
	t.Helper()
	n.script(t, "measured", `
		while [ "$CNI_COMMAND" = ADD ] && read -r key value unit; do
			[ "$key" != VmHWM: ] || echo "$value" >>`+filepath.Join(testDir, "peaks")+`
		done <"/proc/$PPID/status"
		exec "$PLUGINS/ptp"`)
}

// peaks returns what measured has noted, in KiB.
func (l *load) peaks(t *testing.T) []int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testDir, "peaks"))
	if err != nil {
		t.Fatal(err)
	}
	var peaks []int
	for _, field := range strings.Fields(string(text)) {
		peak, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		peaks = append(peaks, peak)
	}
	return peaks
}

func median(all []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(all))[len(all)/2]
}

// TestLoadDelegates has one pod with many delegates, all of which bring a
// default route.
func TestLoadDelegates(t *testing.T) {
	count := int(fromEnv(t, loadDelegatesEnv, 8))
	inNode(t, func(t *testing.T, n *node) {
		var delegates []string
		for i := range count {
			plugin := []string{"ptp", "tap"}[i%2]
			delegates = append(delegates, fmt.Sprintf(`{"type": %q, %s}`, plugin, pool(i+1)))
		}
		delegates[count/2] = primary(delegates[count/2])
		c := conf("1.1.0", delegates...)
		before := n.snapshot(t)
		p := n.pod(t, "pod1")
		times := map[string]time.Duration{}
		for _, verb := range []string{"ADD", "CHECK", "DEL"} {
			start := time.Now()
			n.must(t, verb, p, c)
			times[verb] = time.Since(start).Round(time.Millisecond)
			if verb != "ADD" {
				continue
			}
			if links := p.links(t); len(links) != count {
				t.Errorf("%d interfaces, want %d: %v", len(links), count, links)
			}
			want := []string{fmt.Sprintf("via 10.%d.0.1 dev eth0", count/2+1)}
			if defaults := p.defaults(t); !slices.Equal(defaults, want) {
				t.Errorf("default routes %q, want %q", defaults, want)
			}
		}
		n.nothingLeft(t, before, p)
		t.Logf("%d delegates in one pod: %v", count, times)
	})
}

// TestLoadAlive has many attachments on one node at once, and a GC that has to
// tell those that are valid from the others.
func TestLoadAlive(t *testing.T) {
	count := int(fromEnv(t, loadAliveEnv, 8))
	inNodeFor(t, nodeTimeout+time.Duration(count)*perPair, func(t *testing.T, n *node) {
		c := conf("1.1.0", `{"type": "tap"}`, primary(`{"type": "ptp", `+pool(2)+`}`))
		before := n.snapshot(t)
		l := &load{node: n}
		pods := make([]*pod, count)
		start := time.Now()
		l.each("ADD", count, aliveAtOnce, func(_, i int) {
			pods[i] = n.pod(t, "alive"+strconv.Itoa(i))
			l.call(t, "ADD", pods[i], c)
		})
		added := time.Since(start)
		n.alive(t, pods, func(int) bool { return true })

		valid := func(i int) bool { return i%2 == 0 }
		attachments := []map[string]string{}
		for i, p := range pods {
			if valid(i) {
				attachments = append(attachments, map[string]string{"containerID": p.id, "ifname": "eth0"})
			}
		}
		list, err := json.Marshal(attachments)
		if err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		n.must(t, "GC", &pod{}, with(c, `"cni.dev/valid-attachments": `+string(list)))
		collected := time.Since(start)
		n.alive(t, pods, valid)
		n.must(t, "CHECK", pods[0], c)
		n.must(t, "CHECK", pods[(count-1)/2*2], c)

		l.each("DEL", count, aliveAtOnce, func(_, i int) { l.call(t, "DEL", pods[i], c) })
		n.alive(t, pods, func(int) bool { return false })
		if left := n.leftovers(t, before); len(left) > 0 {
			t.Errorf("left on the node:\n\t%s", strings.Join(left, "\n\t"))
		}
		t.Logf("%d attachments alive at once, made in %v; GC with half of them valid took %v; %d failures",
			count, added.Round(time.Second), collected.Round(time.Millisecond), l.failures)
	})
}

// alive fails the test unless exactly the valid ones of the pods have their
// interfaces, their records and a lease.
func (n *node) alive(t *testing.T, pods []*pod, valid func(i int) bool) {
	t.Helper()
	records := n.records(t)
	leases := map[string]int{} // of each container
	files, err := filepath.Glob("/var/lib/cni/networks/net/10.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		owner, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		leases[strings.TrimSpace(strings.Split(string(owner), "\n")[0])]++
	}
	count := 0
	for i, p := range pods {
		wantLinks, wantLeases := 0, 0
		if valid(i) {
			wantLinks, wantLeases = 2, 1
			count++
		}
		if links := p.links(t); len(links) != wantLinks {
			t.Errorf("%s has the interfaces %v, want %d", p.id, links, wantLinks)
		}
		if leases[p.id] != wantLeases {
			t.Errorf("%s has %d leases, want %d", p.id, leases[p.id], wantLeases)
		}
		if got := slices.Contains(records, "net:"+p.id+":eth0.json"); got != valid(i) {
			t.Errorf("%s has a record: %v, want %v", p.id, got, valid(i))
		}
	}
	if len(records) != count {
		t.Errorf("%d files in the record directory, want %d", len(records), count)
	}
}
