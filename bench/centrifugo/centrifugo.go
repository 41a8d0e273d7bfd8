// Package centrifugo runs Centrifugo as a peer in comparisons of WebSockets, and has the messages
// of its JSON protocol. It is the program that its users run, not the library in it.
package centrifugo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	// Path is the path of the WebSocket. Centrifugo sends a ping every 25 s by default.
	Path = "/connection/websocket"
	// Connect is the first message of each client. Connected is a part of the response.
	Connect   = `{"id":1,"connect":{}}`
	Connected = `"connect":`
	// Subscribed is a part of the response to Subscribe.
	Subscribed = `"subscribe":`
	// Ping is the message that checks whether a client is alive. Pong is the response.
	Ping = `{}`
	Pong = `{}`
)

// Channels.
const (
	// Broadcast is a channel without history.
	Broadcast = "broadcast"
	// Kept is a channel with numbered messages and a history, so that a client that was
	// disconnected gets those that it missed. The size and the time are the defaults of Gale.
	Kept = "kept:broadcast"
)

// config is the quick start of Centrifugo's documentation (client.insecure: no tokens), with
// a namespace for Kept. Without usage statistics, which need the network.
const config = `{
  "client": {"insecure": true},
  "usage_stats": {"disabled": true},
  "channel": {"namespaces": [
    {"name": "kept", "history_size": 1000, "history_ttl": "24h", "force_recovery": true}
  ]}
}
`

// Command returns the program and its arguments, in which PORT stands for the port. The
// configuration is written to the folder dir.
func Command(dir string) ([]string, error) {
	binary := filepath.Join("bin", "tools", "centrifugo")
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("find Centrifugo: %w: run make bench-idle or make bench-sockets, which install it", err)
	}
	file := filepath.Join(dir, "centrifugo.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	return []string{binary, "-c", file, "-a", "127.0.0.1", "-p", "PORT", "--log.level", "error"}, nil
}

// Subscribe returns the message that subscribes to a channel.
func Subscribe(channel string) string {
	return fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q}}`, channel)
}

// Publish returns the message that publishes a text on a channel.
func Publish(channel, text string) string {
	return fmt.Sprintf(`{"id":3,"publish":{"channel":%q,"data":%q}}`, channel, text)
}

// Published returns the texts that were published in a message for a subscriber, which may
// contain several replies, one a line. ping is true if one of them is a ping.
func Published(message []byte) (texts []string, ping bool, err error) {
	for line := range strings.Lines(string(message)) {
		var reply struct {
			Push *struct{ Pub *struct{ Data string } }
			Err  *struct{ Message string } `json:"error"`
		}
		if err := json.Unmarshal([]byte(line), &reply); err != nil {
			return nil, false, fmt.Errorf("read %q: %w", line, err)
		}
		switch {
		case strings.TrimSpace(line) == Ping:
			ping = true
		case reply.Err != nil:
			return nil, false, fmt.Errorf("centrifugo: %s", reply.Err.Message)
		case reply.Push != nil && reply.Push.Pub != nil:
			texts = append(texts, reply.Push.Pub.Data)
		}
	}
	return texts, ping, nil
}
