package stateserver

import (
	"crypto/subtle"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/galeserver/gale/internal/channelscript"
)

// channels executes the scripts of package channelscript in Go, on the keys that the Lua
// code uses. miniredis makes a new Lua interpreter for each call of a script, which takes
// several times as long as all other work for a message. A script in a transaction (MULTI)
// would be executed too early, and nobody does that.
type channels struct {
	keys     *expiry // its lock makes each script atomic
	password string

	mu    sync.Mutex
	peers map[*server.Peer]bool // clients that have sent the password
}

// errArguments is the error for a call that does not fit the script.
var errArguments = errors.New("ERR wrong arguments of a channel script")

// handle is a hook of miniredis. It returns true if it has executed a command.
func (c *channels) handle(peer *server.Peer, cmd string, args ...string) bool {
	switch cmd {
	case "AUTH", "HELLO":
		c.authenticate(peer, args)
	case "EVALSHA":
		script := scriptOf(args)
		if script == nil || !c.authenticated(peer) {
			return false // miniredis executes or refuses it
		}
		c.keys.mu.Lock()
		defer c.keys.mu.Unlock()
		if err := script(c.keys.server, peer, args[2:]); err != nil {
			peer.WriteError(err.Error())
		}
		return true
	}
	return false
}

// script executes a script with its keys and arguments, and sends the result to peer.
type script func(m *miniredis.Miniredis, peer *server.Peer, args []string) error

// scriptOf returns the script that the arguments of EVALSHA name, or nil.
func scriptOf(args []string) script {
	switch {
	case len(args) < 2 || args[1] != "2":
	case args[0] == channelscript.Publish.Hash():
		return publish
	case args[0] == channelscript.Tail.Hash():
		return tail
	}
	return nil
}

// authenticate records a client that has sent the password as an argument of AUTH or HELLO. A
// hook cannot ask miniredis whether a client is authenticated.
func (c *channels) authenticate(peer *server.Peer, args []string) {
	if !slices.ContainsFunc(args, func(arg string) bool {
		return subtle.ConstantTimeCompare([]byte(arg), []byte(c.password)) == 1
	}) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.peers[peer] {
		c.peers[peer] = true
		peer.OnDisconnect(func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.peers, peer)
		})
	}
}

func (c *channels) authenticated(peer *server.Peer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peers[peer]
}

// Names of the fields of a channel's state.
const (
	numberField = "seq"
	bytesField  = "bytes"
	keepField   = "keep"
)

// begin creates the state of a channel that has none.
func begin(m *miniredis.Miniredis, state string) {
	if m.HGet(state, numberField) == "" {
		m.HSet(state, numberField, channelscript.FirstNumber(time.Now()))
	}
}

// publish is publish.lua.
func publish(m *miniredis.Miniredis, peer *server.Peer, args []string) error {
	if len(args) != 8 {
		return errArguments
	}
	state, log, bus, channel, data := args[0], args[1], args[2], args[3], args[4]
	maxKept, errKept := strconv.Atoi(args[5])
	maxBytes, errBytes := strconv.Atoi(args[6])
	keep, errKeep := strconv.Atoi(args[7])
	if errors.Join(errKept, errBytes, errKeep) != nil {
		return errArguments
	}
	begin(m, state)
	number, err := m.HIncr(state, numberField, 1)
	if err != nil {
		return err
	}
	kept, err := m.Push(log, data)
	if err != nil {
		return err
	}
	if kept == 1 {
		m.HSet(state, bytesField, "0")
	}
	bytes, err := m.HIncr(state, bytesField, len(data))
	for ; err == nil && kept > 1 && (kept > maxKept || bytes > maxBytes); kept-- {
		var oldest string
		if oldest, err = m.Lpop(log); err == nil {
			bytes, err = m.HIncr(state, bytesField, -len(oldest))
		}
	}
	if err != nil {
		return err
	}
	m.HSet(state, keepField, args[7])
	m.SetTTL(state, time.Duration(keep)*time.Second)
	m.SetTTL(log, time.Duration(keep)*time.Second)
	seq := strconv.Itoa(number)
	m.Publish(bus, strings.Join([]string{seq, channel, data}, " "))
	peer.WriteBulk(seq)
	return nil
}

// tail is tail.lua.
func tail(m *miniredis.Miniredis, peer *server.Peer, args []string) error {
	if len(args) != 3 {
		return errArguments
	}
	state, log := args[0], args[1]
	begin(m, state)
	keepText := m.HGet(state, keepField)
	if keepText == "" {
		keepText = args[2]
	}
	keep, err := strconv.Atoi(keepText)
	if err != nil {
		return errArguments
	}
	m.SetTTL(state, time.Duration(keep)*time.Second)
	kept, err := m.List(log)
	switch {
	case errors.Is(err, miniredis.ErrKeyNotFound):
	case err != nil:
		return err
	default:
		m.SetTTL(log, time.Duration(keep)*time.Second)
	}
	peer.Block(func(w *server.Writer) {
		w.WriteLen(2)
		w.WriteBulk(m.HGet(state, numberField))
		w.WriteLen(len(kept))
		for _, data := range kept {
			w.WriteBulk(data)
		}
	})
	return nil
}
