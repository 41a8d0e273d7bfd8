package prefork

import (
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

func TestListenGroup(t *testing.T) {
	_, err := os.Stat("/proc/net/if_inet6")
	ipv6 := err == nil
	for _, c := range []struct {
		address string
		hosts   []string // hosts that clients connect to
		ipv6    bool
	}{
		{"127.0.0.1:0", []string{"127.0.0.1"}, false},
		{"localhost:0", []string{"localhost"}, false},
		{"[::1]:0", []string{"::1"}, true},
		{":0", []string{"127.0.0.1"}, false},
		{"[::]:0", []string{"::1", "127.0.0.1"}, true},
	} {
		t.Run(c.address, func(t *testing.T) {
			fds, addr, err := listenGroup(c.address, 3)
			defer closeAll(fds)
			if c.ipv6 && !ipv6 {
				if err == nil {
					t.Error("no error, although the machine has no IPv6")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := listenGroup(addr.String(), 2); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("second group: %v; want address already in use", err)
			}
			const clients = 60
			for range clients / len(c.hosts) {
				for _, host := range c.hosts {
					conn, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(addr.Port)))
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
				}
			}
			queued := 0
			for _, fd := range fds {
				n := acceptQueue(fd)
				if n == 0 {
					t.Error("a socket got none of 60 connections")
				}
				queued += n
			}
			if queued != clients {
				t.Errorf("%d connections in the queues; want %d", queued, clients)
			}
		})
	}
	for _, address := range []string{"127.0.0.1:99999", "nowhere.invalid:80", "203.0.113.1:0"} {
		if fds, _, err := listenGroup(address, 2); err == nil || fds != nil {
			t.Errorf("%s: %v, %v; want an error", address, fds, err)
		}
	}
}

// A program works without privileges and immediately, also for a group of one socket.
func TestAttachSteering(t *testing.T) {
	for _, n := range []int{1, 3} {
		fds, addr, err := listenGroup("127.0.0.1:0", n)
		if err != nil {
			t.Fatal(err)
		}
		defer closeAll(fds)
		if err := attachSteering(fds[0], []socketWeight{{index: n - 1, weight: 1}}); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			conn, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		if got := acceptQueue(fds[n-1]); got != 20 {
			t.Errorf("%d of 20 went to the last of %d sockets", got, n)
		}
	}
}
