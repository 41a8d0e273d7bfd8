package stateserver

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// A key that is set after an hour of silence has its whole time to live, and expires when
// it has passed.
func TestExpiryAfterSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := miniredis.NewMiniRedis()
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		c := client{ours, &expiry{server: m, last: time.Now()}}
		command := func() {
			go func() { _, _ = theirs.Write([]byte("x")) }()
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}

		time.Sleep(time.Hour)
		command()
		if err := m.Set("a", "1"); err != nil {
			t.Fatal(err)
		}
		m.SetTTL("a", time.Minute)
		time.Sleep(30 * time.Second)
		command()
		if left := m.TTL("a"); left != 30*time.Second {
			t.Errorf("TTL after 30 s of a minute: %v", left)
		}
		time.Sleep(30 * time.Second)
		command()
		if m.Exists("a") {
			t.Error("the key does not expire")
		}
	})
}
