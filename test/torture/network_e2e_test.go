//go:build e2e

package torture_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// network connects machines, which are network namespaces, by two bridges: clients reach the
// machines by the front, and the machines reach Redis and the object storage by the back.
type network struct {
	t    *testing.T
	id   int        // in the names of the interfaces
	busy []chan any // of each machine: one fault of its link at a time
}

func newNetwork(t *testing.T, machines int) *network {
	t.Helper()
	n := &network{t: t, id: os.Getpid()}
	for side, address := range map[string]string{"f": n.front(1), "b": n.services()} {
		bridge := n.bridge(side)
		n.ip("link", "add", bridge, "type", "bridge")
		t.Cleanup(func() { n.ip("link", "del", bridge) })
		n.ip("address", "add", address+"/24", "dev", bridge)
		n.ip("link", "set", "dev", bridge, "up")
	}
	for i := range machines {
		name := n.machine(i)
		n.ip("netns", "add", name)
		t.Cleanup(func() { n.ip("netns", "del", name) })
		n.ip("-n", name, "link", "set", "lo", "up")
		for side, address := range map[string]string{"f": n.address(i), "b": n.back(10 + i)} {
			n.ip("link", "add", n.link(side, i), "type", "veth", "peer", "name", side, "netns", name)
			n.ip("-n", name, "address", "add", address+"/24", "dev", side)
			n.ip("-n", name, "link", "set", "dev", side, "up")
			n.ip("link", "set", "dev", n.link(side, i), "master", n.bridge(side), "up")
		}
		n.busy = append(n.busy, make(chan any, 1))
	}
	return n
}

func (n *network) machine(i int) string           { return fmt.Sprint("gale-torture-", n.id, "-", i) }
func (n *network) bridge(side string) string      { return fmt.Sprint("g", side, n.id) }
func (n *network) link(side string, i int) string { return fmt.Sprint("g", side, n.id, ".", i) }
func (n *network) front(host int) string          { return fmt.Sprint("198.18.", n.id%256, ".", host) }
func (n *network) back(host int) string           { return fmt.Sprint("198.19.", n.id%256, ".", host) }

// address is the address at which clients reach a machine.
func (n *network) address(i int) string { return n.front(10 + i) }

// services is the address at which machines reach Redis and the object storage.
func (n *network) services() string { return n.back(1) }

// enter is the command that starts a program on a machine.
func (n *network) enter(i int) []string {
	return []string{"nsenter", "--net=/run/netns/" + n.machine(i)}
}

// cut disconnects a machine from Redis and the object storage for some time. Packets are lost
// without notice, and connections stay open. It returns false if the link has a fault already.
func (n *network) cut(i int, pause time.Duration) bool {
	return n.fault(i, pause, []string{"ip", "link", "set", "dev", n.link("b", i), "nomaster"},
		[]string{"ip", "link", "set", "dev", n.link("b", i), "master", n.bridge("b")})
}

// slow lets only 256 kbit/s through to a machine for some time. Packets are late by up to 400
// ms, and lost beyond that.
func (n *network) slow(i int, pause time.Duration) bool {
	return n.fault(i, pause, []string{"tc", "qdisc", "add", "dev", n.link("b", i), "root", "tbf", "rate", "256kbit", "burst", "4kb", "latency", "400ms"},
		[]string{"tc", "qdisc", "del", "dev", n.link("b", i), "root"})
}

func (n *network) fault(i int, pause time.Duration, begin, end []string) bool {
	select {
	case n.busy[i] <- nil:
	default:
		return false
	}
	defer func() { <-n.busy[i] }()
	n.run(begin)
	<-time.After(pause)
	n.run(end)
	return true
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	n.run(append([]string{"ip"}, args...))
}

func (n *network) run(line []string) {
	n.t.Helper()
	if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
		n.t.Errorf("%s: %v: %s", strings.Join(line, " "), err, out)
	}
}
