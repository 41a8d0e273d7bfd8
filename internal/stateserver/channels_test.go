package stateserver_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/galeserver/gale/internal/channelscript"
	"github.com/galeserver/gale/internal/sharedtest"
)

// channelServer is a server with one channel. run executes a script there.
type channelServer struct {
	testing.TB
	redis.UniversalClient
	received *redis.PubSub
	run      func(s *redis.Script, args ...any) *redis.Cmd
}

var channelKeys = []string{"state", "log"}

func newChannelServer(t *testing.T, address string, lua bool) *channelServer {
	t.Helper()
	c := &channelServer{TB: t, UniversalClient: sharedtest.Open(t, address)}
	c.run = func(s *redis.Script, args ...any) *redis.Cmd {
		if lua {
			return s.Eval(t.Context(), c, channelKeys, args...)
		}
		return s.Run(t.Context(), c, channelKeys, args...)
	}
	c.received = c.Subscribe(t.Context(), "bus")
	t.Cleanup(func() { _ = c.received.Close() })
	if _, err := c.received.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// result is everything that a script has returned and changed, as text.
func (c *channelServer) result(cmd *redis.Cmd) string {
	c.Helper()
	ctx := c.Context()
	value, err := cmd.Result()
	texts := []any{
		value, err, c.HGetAll(ctx, "state").Val(), c.LRange(ctx, "log", 0, -1).Val(),
		c.PTTL(ctx, "state").Val().Round(10 * time.Minute), c.PTTL(ctx, "log").Val().Round(10 * time.Minute),
	}
	return fmt.Sprintf("%q", texts)
}

func (c *channelServer) message() string {
	c.Helper()
	got, err := c.received.ReceiveTimeout(c.Context(), time.Minute)
	m, ok := got.(*redis.Message)
	if err != nil || !ok {
		c.Fatalf("received %v, %v", got, err)
	}
	return m.Payload
}

// The embedded state server executes the scripts without Lua. The results are those of the
// Lua code, on a real Redis as on miniredis.
func TestChannelScripts(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		t.Parallel()
		native := newChannelServer(t, sharedtest.StateServer(t), false)
		lua := newChannelServer(t, address, true)
		both := []*channelServer{native, lua}
		for _, c := range both { // otherwise the first number is the time
			if err := c.HSet(t.Context(), "state", "seq", "41").Err(); err != nil {
				t.Fatal(err)
			}
		}
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		for step := range 300 {
			script, args := channelscript.Tail, []any{7200 * (1 + random.IntN(3))}
			if random.IntN(3) > 0 {
				data := strings.Repeat("ä \x00", random.IntN(20))
				script, args = channelscript.Publish, []any{"bus", "a", data, 1 + random.IntN(8), 10 + random.IntN(200), 3600 * (1 + random.IntN(3))}
			}
			var results [2]string
			for i, c := range both {
				results[i] = c.result(c.run(script, args...))
			}
			if results[0] != results[1] {
				t.Fatalf("seed %d, step %d, %q:\n%s\nwant\n%s", seed, step, args, results[0], results[1])
			}
			if script == channelscript.Publish {
				if got, want := native.message(), lua.message(); got != want {
					t.Fatalf("seed %d, step %d: published %q; want %q", seed, step, got, want)
				}
			}
		}
	})
}

// The numbers of a new channel begin at the time, also if it was only read before.
func TestChannelBegins(t *testing.T) {
	t.Parallel()
	sharedtest.Each(t, func(t *testing.T, address string) {
		t.Parallel()
		c := newChannelServer(t, address, false)
		before := uint64(time.Now().UnixMicro())
		tail, err := c.run(channelscript.Tail, 60).Slice()
		if err != nil {
			t.Fatal(err)
		}
		first, err := strconv.ParseUint(fmt.Sprint(tail[0]), 10, 64)
		if after := uint64(time.Now().UnixMicro()); err != nil || first < before || first > after || !reflect.DeepEqual(tail[1], []any{}) {
			t.Errorf("%v, %v; want a number from %d to %d, and no messages", tail, err, before, after)
		}
		if seq, err := c.run(channelscript.Publish, "bus", "a", "b", 1, 1, 60).Uint64(); err != nil || seq != first+1 {
			t.Errorf("published as %d, %v; want %d", seq, err, first+1)
		}
	})
}

// A call with wrong arguments gets an error and changes nothing.
func TestChannelScriptArguments(t *testing.T) {
	t.Parallel()
	c := newChannelServer(t, sharedtest.StateServer(t), false)
	for _, call := range []*redis.Cmd{
		c.run(channelscript.Publish, "bus", "a", "b", 1, 1),
		c.run(channelscript.Publish, "bus", "a", "b", 1, "x", 60),
		c.run(channelscript.Publish, "bus", "a", "b", 1, 1, "x"),
		c.run(channelscript.Tail),
	} {
		if err := call.Err(); err == nil || !strings.Contains(err.Error(), "wrong arguments of a channel script") {
			t.Errorf("%v: %v", call.Args(), err)
		}
	}
	if keys := c.Keys(t.Context(), "*").Val(); len(keys) > 0 {
		t.Errorf("keys %q", keys)
	}
	for _, key := range channelKeys { // a value of another type
		if err := c.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.run(channelscript.Publish, "bus", "a", "b", 1, 1, 60).Err(); err == nil {
		t.Error("a text was used as a channel")
	}
}

// Scripts that are executed without Lua need the password, too.
func TestChannelScriptsNeedPassword(t *testing.T) {
	t.Parallel()
	o, err := redis.ParseURL(sharedtest.StateServer(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"redis://" + o.Addr, "redis://:wrong@" + o.Addr} {
		c := sharedtest.Open(t, url)
		if err := channelscript.Publish.EvalSha(t.Context(), c, channelKeys, "bus", "a", "b", 1, 1, 60).Err(); err == nil {
			t.Errorf("%s: published without the password", url)
		}
	}
}
